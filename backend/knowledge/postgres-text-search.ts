/**
 * Search by words where PostgreSQL has only its own text search: decides which chunks are worth scoring, and has them
 * scored.
 */
import { LruMap } from "../../core/directory/lru-map.ts";
import type { SqlDatabase } from "../stores/sql-database.ts";
import { inverseDocumentFrequency } from "./inverse-document-frequency.ts";
import { likelyClauses } from "./likely-clauses.ts";
import { SqlParameters } from "./postgres-filter.ts";
import { type PostgresIndexQueries, type RankedRow, scopeSql } from "./postgres-index-queries.ts";
import { PostgresTermFrequencies } from "./postgres-term-frequencies.ts";
import { type IndexQuery, type IndexScope, scopeName } from "./vector-index.ts";

/** Chunks that are scored for each one asked for, about: 0.98 of the ten best are among 30 found so. */
const SCORED_PER_RESULT = 5;
/** How many more of them are looked for under a filter, of which nobody knows how many it leaves. */
const FILTERED_FACTOR = 5;
/** How long the number of chunks of a large scope is believed. Counting 100,000 takes 15 ms. */
const CHUNKS_FRESH_MS = 600_000;
/** Scopes whose number of chunks is remembered. */
const SCOPES_MAX = 1_000;

/** What the search works with. */
export interface PostgresTextSearchOptions {
  readonly database: Pick<SqlDatabase, "query">;
  /** Milliseconds that only grow. */
  readonly now: () => number;
}

/** The search. */
export class PostgresTextSearch {
  readonly #options: PostgresTextSearchOptions;
  readonly #frequencies: PostgresTermFrequencies;
  readonly #chunks = new LruMap<{ chunks: number; atMs: number }>(SCOPES_MAX);

  constructor(options: PostgresTextSearchOptions) {
    this.#options = options;
    this.#frequencies = new PostgresTermFrequencies(options.database, options.now);
  }

  /**
   * The candidates by words. Never none where a chunk has a term of the question: terms are taken to be independent,
   * and when that leaves fewer chunks than are asked for, all that have one are looked at.
   *
   * @param words the terms of the question
   * @param chunksMin how many chunks the scope has, or a number that they exceed
   */
  async search(
    query: IndexQuery,
    {
      queries,
      words,
      chunksMin,
    }: { queries: PostgresIndexQueries; words: readonly string[]; chunksMin: number },
    signal: AbortSignal,
  ): Promise<RankedRow[]> {
    const { limit, filter, scope } = query;
    const wanted = limit * SCORED_PER_RESULT * (filter?.length ? FILTERED_FACTOR : 1);
    const chunks = chunksMin <= wanted ? chunksMin : await this.#countChunks(scope, signal);
    const frequencies = await this.#frequencies.of(scope, words, chunks, signal);
    if (frequencies.length === 0) return [];
    const terms = frequencies.map((term) => ({
      query: term.query,
      idf: inverseDocumentFrequency(term.chunks, Math.max(chunks, term.chunks)),
    }));
    const rank = (clauses: readonly (readonly string[])[]) => {
      const { text, params } = queries.lexicalByTextSearch(query, { terms, clauses });
      return this.#options.database.query<RankedRow>(text, params, signal);
    };
    const shares = frequencies.map((term) => ({
      term: term.query,
      share: Math.min(1, term.chunks / chunks),
    }));
    const likely = likelyClauses(shares, { chunks, wanted });
    const rows = await rank(likely);
    const isAll = likely.filter(({ length }) => length === 1).length === terms.length;
    if (rows.length >= limit || isAll) return rows;
    return best([...rows, ...(await rank(terms.map((term) => [term.query])))], limit);
  }

  async #countChunks(scope: IndexScope, signal: AbortSignal): Promise<number> {
    const key = scopeName(scope);
    const known = this.#chunks.get(key);
    const nowMs = this.#options.now();
    if (known && nowMs - known.atMs < CHUNKS_FRESH_MS) return known.chunks;
    const params = new SqlParameters();
    const text = `SELECT count(*)::int AS chunks FROM knowledge_chunks k WHERE ${scopeSql(scope, params)}`;
    const [row] = await this.#options.database.query<{ chunks: number }>(text, params.values, signal);
    const chunks = Math.max(1, row?.chunks ?? 0);
    this.#chunks.set(key, { chunks, atMs: nowMs });
    return chunks;
  }
}

/** The best of two rankings, each chunk once. */
function best(rows: readonly RankedRow[], limit: number): RankedRow[] {
  const byId = new Map(rows.map((row) => [row.chunkId, row]));
  return [...byId.values()]
    .toSorted((a, b) => b.score - a.score)
    .slice(0, limit)
    .map((row, at) => ({ ...row, rank: at + 1 }));
}
