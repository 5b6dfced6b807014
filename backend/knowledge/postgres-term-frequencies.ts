/**
 * How common terms are in a scope of PostgreSQL's text search, which keeps no such count: rare ones are counted,
 * common ones estimated from a sample, and both believed for a while.
 */
import { LruMap } from "../../core/directory/lru-map.ts";
import type { SqlDatabase } from "../stores/sql-database.ts";
import { SqlParameters } from "./postgres-filter.ts";
import { scopeSql } from "./postgres-index-queries.ts";
import type { IndexScope } from "./vector-index.ts";

/** Chunks of the sample. Their ids are hashes, so those of the smallest ids are as good as any. */
const SAMPLE_CHUNKS = 400;
/** A term that so many of the sample have is not counted: the sample tells, to a third or so. */
const SAMPLED_MIN = 5;
/** Chunks of one of the other terms that are counted. */
const COUNTED_MAX = 2_000;
/** How long a number is believed. That of a scope which has since changed ranks a little worse, and hides nothing. */
const FRESH_MS = 600_000;
/** Terms of scopes that are remembered: 150 bytes each. */
const TERMS_MAX = 50_000;

/** A term of a question. */
export interface TermFrequency {
  /** The term as a tsquery. */
  readonly query: string;
  /** Chunks of the scope that have it, one at least. */
  readonly chunks: number;
}

interface CountRow {
  readonly term: string;
  readonly query: string;
  /** Of the sample. */
  readonly sampled: number;
  /** Of the scope; null for what is estimated by the sample. */
  readonly counted: number | null;
}

/** Counts terms, and remembers. */
export class PostgresTermFrequencies {
  readonly #database: Pick<SqlDatabase, "query">;
  readonly #now: () => number;
  readonly #known = new LruMap<TermFrequency & { atMs: number }>(TERMS_MAX);

  /** @param now milliseconds that only grow */
  constructor(database: Pick<SqlDatabase, "query">, now: () => number) {
    this.#database = database;
    this.#now = now;
  }

  /**
   * Of each term in which text search sees a word.
   *
   * @param chunks how many the scope has, about
   */
  async of(
    scope: IndexScope,
    terms: readonly string[],
    chunks: number,
    signal: AbortSignal,
  ): Promise<TermFrequency[]> {
    const nowMs = this.#now();
    const keyOf = (term: string) =>
      JSON.stringify([scope.tenantId, scope.collection, scope.generation, term]);
    const isFresh = (term: string) => nowMs - (this.#known.get(keyOf(term))?.atMs ?? -FRESH_MS) < FRESH_MS;
    const unknown = terms.filter((term) => !isFresh(term));
    if (unknown.length > 0) {
      for (const { term, query, counted, sampled } of await this.#count(scope, unknown, signal)) {
        const having = counted ?? (sampled / Math.min(chunks, SAMPLE_CHUNKS)) * chunks;
        this.#known.set(keyOf(term), { query, chunks: Math.max(1, having), atMs: nowMs });
      }
    }
    return terms.flatMap((term) => this.#known.get(keyOf(term)) ?? []).filter(({ query }) => query !== "");
  }

  #count(scope: IndexScope, terms: readonly string[], signal: AbortSignal): Promise<CountRow[]> {
    const params = new SqlParameters();
    const where = scopeSql(scope, params);
    const text = `
      WITH sample AS MATERIALIZED (
        SELECT words || '' AS words FROM knowledge_chunks k WHERE ${where} ORDER BY chunk_id LIMIT ${SAMPLE_CHUNKS}
      ), sampled AS MATERIALIZED (
        SELECT term, query, (SELECT count(*) FROM sample WHERE words @@ query)::int AS sampled
          FROM unnest(${params.add(terms)}::text[]) term CROSS JOIN LATERAL plainto_tsquery('simple', term) query
      )
      SELECT term, query::text AS query, sampled, CASE WHEN sampled < ${SAMPLED_MIN} THEN (
          SELECT count(*) FROM (
            SELECT FROM knowledge_chunks k WHERE ${where} AND words @@ query LIMIT ${COUNTED_MAX}) hit)::int
        END AS counted
        FROM sampled`;
    return this.#database.query<CountRow>(text, params.values, signal);
  }
}
