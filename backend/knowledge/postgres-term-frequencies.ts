/**
 * How common terms are in a scope of PostgreSQL's text search, which keeps no such count: common ones are estimated
 * from a sample, the others counted, and both believed for a while.
 */
import { LruMap } from "../../core/directory/lru-map.ts";
import type { SqlDatabase } from "../stores/sql-database.ts";
import { SqlParameters } from "./postgres-filter.ts";
import { scopeSql } from "./postgres-index-queries.ts";
import { scopeMark, wordsScopeSql } from "./postgres-words.ts";
import { type IndexScope, scopeName } from "./vector-index.ts";

/** Chunks of the sample, which takes 200 ms in a large scope. Their ids are hashes, so those of the smallest ids are as good as any. */
const SAMPLE_CHUNKS = 4_000;
/** A term that so many of the sample have is not counted, which takes a page each: the sample tells, to a half. */
const SAMPLED_MIN = 4;
/** Terms of a sample that are kept, the commonest. */
const SAMPLED_TERMS_MAX = 20_000;
/** Scopes whose sample is remembered: 1.5 MB each. */
const SAMPLES_MAX = 20;
/** Chunks of one of the other terms that are counted. */
const COUNTED_MAX = 1_000;
/** By so much may a scope have grown or shrunk since its sample was taken. */
const SAMPLE_GROWTH_MAX = 2;
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

interface Sample {
  /** Of each common term, the share of chunks that have it. */
  readonly shares: ReadonlyMap<string, number>;
  /** Of the scope, when the sample was taken. */
  readonly chunks: number;
  readonly atMs: number;
}

/** Counts terms, and remembers. */
export class PostgresTermFrequencies {
  readonly #database: Pick<SqlDatabase, "query">;
  readonly #now: () => number;
  readonly #counted = new LruMap<TermFrequency & { atMs: number }>(TERMS_MAX);
  readonly #samples = new LruMap<Sample>(SAMPLES_MAX);

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
    const shares = await this.#sample(scope, chunks, signal);
    const [key, mark] = [scopeName(scope), scopeMark(scope)];
    const keyOf = (term: string) => `${key}${term}`;
    const rare = terms.filter((term) => !shares.has(term));
    const nowMs = this.#now();
    const isFresh = (term: string) => nowMs - (this.#counted.get(keyOf(term))?.atMs ?? -FRESH_MS) < FRESH_MS;
    const unknown = rare.filter((term) => !isFresh(term));
    if (unknown.length > 0) {
      for (const { term, query, counted } of await this.#count(scope, unknown, signal)) {
        this.#counted.set(keyOf(term), { query, chunks: Math.max(1, counted), atMs: nowMs });
      }
    }
    return terms.flatMap((term): TermFrequency[] => {
      const share = shares.get(term);
      if (share !== undefined)
        return [{ query: lexemeQuery(`${mark}${term}`), chunks: Math.max(1, share * chunks) }];
      const counted = this.#counted.get(keyOf(term));
      return counted && counted.query !== "" ? [counted] : [];
    });
  }

  /** One that is only old does for this search, and is taken anew beside it. */
  async #sample(
    scope: IndexScope,
    chunks: number,
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, number>> {
    const key = scopeName(scope);
    const known = this.#samples.get(key);
    if (!known || !isAlike(known.chunks, chunks)) return this.#takeSample(scope, chunks, signal);
    const nowMs = this.#now();
    if (nowMs - known.atMs >= FRESH_MS) {
      this.#samples.set(key, { ...known, atMs: nowMs });
      void this.#takeSample(scope, chunks).catch(() => undefined);
    }
    return known.shares;
  }

  async #takeSample(
    scope: IndexScope,
    chunks: number,
    signal?: AbortSignal,
  ): Promise<ReadonlyMap<string, number>> {
    const atMs = this.#now();
    const params = new SqlParameters();
    const text = `
      WITH sample AS MATERIALIZED (
        SELECT words FROM knowledge_words k WHERE ${scopeSql(scope, params)} ORDER BY chunk_id LIMIT ${SAMPLE_CHUNKS}
      )
      SELECT lexeme, count(*)::float8 / (SELECT count(*) FROM sample) AS share
        FROM sample, unnest(words)
       GROUP BY lexeme HAVING count(*) >= ${SAMPLED_MIN} ORDER BY share DESC LIMIT ${SAMPLED_TERMS_MAX}`;
    const rows = await this.#database.query<{ lexeme: string; share: number }>(text, params.values, signal);
    const markLength = scopeMark(scope).length;
    const shares = new Map(rows.map(({ lexeme, share }) => [lexeme.slice(markLength), share]));
    this.#samples.set(scopeName(scope), { shares, chunks, atMs });
    return shares;
  }

  #count(scope: IndexScope, terms: readonly string[], signal: AbortSignal) {
    const params = new SqlParameters();
    const [mark, asked] = [params.add(scopeMark(scope)), params.add(terms)];
    const text = `
      SELECT term, query::text AS query, (SELECT count(*) FROM (
          SELECT FROM knowledge_words k
           WHERE ${wordsScopeSql(scope, params)} AND words @@ query LIMIT ${COUNTED_MAX}) hit)::int AS counted
        FROM unnest(${asked}::text[]) term CROSS JOIN LATERAL plainto_tsquery('simple', ${mark} || term) query`;
    type Row = { readonly term: string; readonly query: string; readonly counted: number };
    return this.#database.query<Row>(text, params.values, signal);
  }
}

function isAlike(a: number, b: number): boolean {
  return Math.max(a, b) <= SAMPLE_GROWTH_MAX * Math.min(a, b);
}

/** The lexeme itself, quoted as a tsquery wants it. */
function lexemeQuery(lexeme: string): string {
  return `'${lexeme.replaceAll("\\", "\\\\").replaceAll("'", "''")}'`;
}
