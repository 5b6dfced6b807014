/**
 * The index of chunks in PostgreSQL, PGlite included: the table `knowledge_chunks`. Vectors are compared exactly in
 * small scopes, in PGlite in all of them, and by pgvector's HNSW in large ones; words by BM25 where the database has
 * pg_textsearch, else by its own text search. A database without pgvector is searched by words alone.
 */
import { LruMap } from "../../core/directory/lru-map.ts";
import type { SqlDatabase } from "../stores/sql-database.ts";
import { storableJson } from "../stores/storable-json.ts";
import { checkChunks, checkDimension, checkLimit } from "./check-index-input.ts";
import type { EmbeddedChunk } from "./chunk.ts";
import { chunkTerms, queryTerms } from "./lexical-terms.ts";
import {
  dropDimensionSql,
  type PostgresCapabilities,
  prepareCapabilities,
  prepareDimensionSql,
} from "./postgres-capabilities.ts";
import { SqlParameters } from "./postgres-filter.ts";
import { EXACT_CHUNKS_MAX, hasGraphSql, PostgresGraphs } from "./postgres-graphs.ts";
import {
  type DenseWay,
  PostgresIndexQueries,
  type RankedRow,
  scopeSql,
  vectorText,
} from "./postgres-index-queries.ts";
import { PostgresTextSearch } from "./postgres-text-search.ts";
import {
  type Candidate,
  type IndexQuery,
  type IndexScope,
  type ScopeSelection,
  scopeName,
  type VectorIndex,
} from "./vector-index.ts";

/** Rows of one statement: on PGlite, where nobody else gets a turn meanwhile, 150 ms. A document of no more goes in one piece. */
const BATCH_ROWS = 64;
/** How long the state of a scope is believed; it only decides how it is searched, and weighs words. */
const STATE_FRESH_MS = 30_000;
/** Scopes whose state is remembered: 100 bytes each. */
const STATES_MAX = 10_000;

/** What the index works with. */
export interface PostgresVectorIndexOptions {
  readonly database: SqlDatabase;
  /** Milliseconds that only grow. */
  readonly now: () => number;
  /** Told once of what the database lacks; `cause` is for the log. */
  readonly onMissing: (what: string, cause: unknown) => void;
}

interface ScopeState {
  /** How many the scope holds, or held a short while ago; counted up to one more than an exact search reads. */
  readonly chunks: number;
  readonly hasGraph: boolean;
  readonly atMs: number;
}

/** {@link VectorIndex} in PostgreSQL. */
export class PostgresVectorIndex implements VectorIndex {
  /** Undefined where there are no sessions to build them in; see {@link SqlDatabase.withSession}. */
  readonly graphs: PostgresGraphs | undefined;
  readonly #options: PostgresVectorIndexOptions;
  readonly #states = new LruMap<ScopeState>(STATES_MAX);
  readonly #textSearch: PostgresTextSearch;
  #opening: Promise<{ queries: PostgresIndexQueries; capabilities: PostgresCapabilities }> | undefined;

  constructor(options: PostgresVectorIndexOptions) {
    this.#options = options;
    this.graphs = options.database.withSession && new PostgresGraphs(options);
    this.#textSearch = new PostgresTextSearch(options);
  }

  /** What the database turned out to offer. */
  async capabilities(): Promise<PostgresCapabilities> {
    return (await this.#open()).capabilities;
  }

  async prepare(_scope: IndexScope, dimension: number, signal: AbortSignal): Promise<void> {
    checkDimension(dimension);
    const { capabilities } = await this.#open();
    signal.throwIfAborted();
    if (!capabilities.vectors || this.graphs) return;
    const { database } = this.#options;
    await database.runScript(
      database.isSingleConnection ? dropDimensionSql(dimension) : prepareDimensionSql(dimension),
    );
  }

  async replaceDocument(
    scope: IndexScope,
    documentId: string,
    chunks: readonly EmbeddedChunk[],
    signal: AbortSignal,
  ): Promise<void> {
    checkChunks(documentId, chunks);
    if (chunks.length === 0) return this.deleteDocument(scope, documentId, signal);
    const { queries, capabilities } = await this.#open();
    const keep = chunks.map((chunk) => chunk.chunkId);
    for (let start = 0; start < chunks.length; start += BATCH_ROWS) {
      const batch = chunks.slice(start, start + BATCH_ROWS);
      // The old version goes with the last of the new one.
      const isLast = start + BATCH_ROWS >= chunks.length;
      const { text, params } = queries.store(scope, documentId, toRows(batch), isLast ? keep : undefined);
      await this.#options.database.query(text, params, signal);
    }
    if (capabilities.vectors) this.graphs?.notice(scope);
    this.#states.delete(scopeName(scope));
  }

  async deleteDocument(scope: IndexScope, documentId: string, signal: AbortSignal): Promise<void> {
    const params = new SqlParameters();
    const text = `DELETE FROM knowledge_chunks k
      WHERE ${scopeSql(scope, params)} AND k.document_id = ${params.add(documentId)}`;
    await this.#options.database.query(text, params.values, signal);
    this.#states.delete(scopeName(scope));
  }

  async dropScope(scope: ScopeSelection, signal: AbortSignal): Promise<void> {
    const params = new SqlParameters();
    // In pieces, so that no statement outlasts its time, and others get their turn.
    const text = `DELETE FROM knowledge_chunks WHERE ctid = ANY(ARRAY(
      SELECT ctid FROM knowledge_chunks k WHERE ${scopeSql(scope, params)} LIMIT 5000)) RETURNING 1 AS one`;
    while ((await this.#options.database.query(text, params.values, signal)).length > 0);
    await this.graphs?.drop(scope, signal);
  }

  async countChunks(scope: IndexScope, signal: AbortSignal): Promise<number> {
    const params = new SqlParameters();
    const text = `SELECT count(*)::int AS chunks FROM knowledge_chunks k WHERE ${scopeSql(scope, params)}`;
    const [row] = await this.#options.database.query<{ chunks: number }>(text, params.values, signal);
    return row?.chunks ?? 0;
  }

  /** Both ways at once: they need a processor each, and the time of the slower one. */
  async search(query: IndexQuery, signal: AbortSignal): Promise<Candidate[]> {
    checkLimit(query);
    const state = await this.#state(query.scope, signal);
    const [dense, lexical] = await Promise.all([
      this.#dense(query, state, signal),
      this.#lexical(query, state.chunks, signal),
    ]);
    const candidates = new Map<string, Candidate>();
    for (const { rank, score, ...chunk } of dense) {
      candidates.set(chunk.chunkId, { chunk, dense: { rank, score }, lexical: undefined });
    }
    for (const { rank, score, ...chunk } of lexical) {
      const found = candidates.get(chunk.chunkId) ?? { chunk, dense: undefined };
      candidates.set(chunk.chunkId, { ...found, lexical: { rank, score } });
    }
    return [...candidates.values()];
  }

  async #dense(query: IndexQuery, state: ScopeState, signal: AbortSignal): Promise<RankedRow[]> {
    const { queries, capabilities } = await this.#open();
    const { scope, embedding } = query;
    if (!embedding || !capabilities.vectors) return [];
    const { text, params } = queries.dense(query, embedding, this.#denseWay(scope, state));
    return this.#options.database.query<RankedRow>(text, params, signal);
  }

  #denseWay(scope: IndexScope, { chunks, hasGraph }: ScopeState): DenseWay {
    if (chunks <= EXACT_CHUNKS_MAX || this.#options.database.isSingleConnection) return "exact";
    if (!this.graphs) return "dimension";
    if (hasGraph) return "scope";
    this.graphs.notice(scope);
    return "exact";
  }

  async #lexical(query: IndexQuery, chunks: number, signal: AbortSignal): Promise<RankedRow[]> {
    const { queries, capabilities } = await this.#open();
    const { database } = this.#options;
    const words = queryTerms(query.query);
    if (words.length === 0) return [];
    if (capabilities.lexical === "bm25") {
      const { text, params } = queries.lexicalByExtension(query, words);
      return database.query<RankedRow>(text, params, signal);
    }
    return this.#textSearch.search(query, { queries, words, chunksMin: chunks }, signal);
  }

  /** A first failure is not remembered: the next call tries again. */
  #open() {
    this.#opening ??= prepareCapabilities(this.#options.database, this.#options.onMissing).then(
      (capabilities) => ({ capabilities, queries: new PostgresIndexQueries(capabilities) }),
      (error: unknown) => {
        this.#opening = undefined;
        throw error;
      },
    );
    return this.#opening;
  }

  async #state(scope: IndexScope, signal: AbortSignal): Promise<ScopeState> {
    const key = scopeName(scope);
    const known = this.#states.get(key);
    const nowMs = this.#options.now();
    if (known && nowMs - known.atMs < STATE_FRESH_MS) return known;
    const params = new SqlParameters();
    const text = `SELECT (SELECT count(*) FROM (
        SELECT 1 FROM knowledge_chunks k WHERE ${scopeSql(scope, params)} LIMIT ${EXACT_CHUNKS_MAX + 1}) counted
      )::int AS chunks, ${hasGraphSql(scope, params)} AS "hasGraph"`;
    type Row = Pick<ScopeState, "chunks" | "hasGraph">;
    const [row] = await this.#options.database.query<Row>(text, params.values, signal);
    const state = { chunks: row?.chunks ?? 0, hasGraph: row?.hasGraph ?? false, atMs: nowMs };
    this.#states.set(key, state);
    return state;
  }
}

function toRows(chunks: readonly EmbeddedChunk[]): string {
  return storableJson(
    chunks.map(({ embedding, ...chunk }) => ({
      ...chunk,
      terms: chunkTerms(chunk),
      embedding: embedding ? vectorText(embedding) : null,
    })),
  );
}
