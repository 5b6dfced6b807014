/**
 * The statements of the index in PostgreSQL. The scope stands in every WHERE, as parameters; what differs between
 * databases and questions is put together here from fixed pieces.
 */
import type { SqlParam } from "../../core/directory/sql-client.ts";
import type { Chunk } from "./chunk.ts";
import type { PostgresCapabilities } from "./postgres-capabilities.ts";
import { filterSql, SqlParameters } from "./postgres-filter.ts";
import { rankByExtension, rankByTextSearch, type TextSearchOptions } from "./postgres-lexical.ts";
import { wordsScopeSql } from "./postgres-words.ts";
import type { IndexQuery, IndexScope, ScopeSelection } from "./vector-index.ts";

/** A statement with its parameters. */
export interface Statement {
  readonly text: string;
  readonly params: readonly SqlParam[];
}

/** A chunk with where it stands in one way of searching. */
export interface RankedRow extends Chunk {
  readonly rank: number;
  readonly score: number;
}

/** How all vectors of a scope are compared: one by one, or along the graph of the scope or of the dimension. */
export type DenseWay = "exact" | "scope" | "dimension";

/** Of the HNSW graph, how many nodes are looked at: twice the candidates of a search. */
const HNSW_EF_SEARCH = 80;
/** Nodes that a filtered search may pass by before it gives up: 10 ms at most. */
const HNSW_SCAN_TUPLES_MAX = 40_000;

/**
 * Settings for this statement alone. As an uncorrelated subquery they are applied before the first row is fetched,
 * which is when pgvector reads them. `relaxed_order` because the rows are ordered again afterwards.
 */
const HNSW_SETTINGS = `
  (SELECT set_config('hnsw.ef_search', '${HNSW_EF_SEARCH}', true)
       || set_config('hnsw.iterative_scan', 'relaxed_order', true)
       || set_config('hnsw.max_scan_tuples', '${HNSW_SCAN_TUPLES_MAX}', true)) IS NOT NULL`;

const COLUMNS = `
  k.chunk_id AS "chunkId", k.document_id AS "documentId", k.ordinal, k.title, k.headings, k.text,
  k.start_offset AS "startOffset", k.end_offset AS "endOffset", k.content_hash AS "contentHash", k.metadata`;

const STORED_COLUMNS = [
  ["chunk_id", '"chunkId"'],
  ["document_id", '"documentId"'],
  ["ordinal", "ordinal"],
  ["title", "title"],
  ["headings", "headings"],
  ["text", "text"],
  ["start_offset", '"startOffset"'],
  ["end_offset", '"endOffset"'],
  ["content_hash", '"contentHash"'],
  ["metadata", "metadata"],
  ["terms", "terms"],
] as const;

const ROW_TYPE = `
  "chunkId" text, "documentId" text, ordinal integer, title text, headings jsonb, text text,
  "startOffset" integer, "endOffset" integer, "contentHash" text, metadata jsonb, terms text, embedding text`;

/** The statements of one database. */
export class PostgresIndexQueries {
  readonly #capabilities: PostgresCapabilities;

  constructor(capabilities: PostgresCapabilities) {
    this.#capabilities = capabilities;
  }

  /**
   * Stores chunks of a document; with `keep`, deletes in the same statement all of the document's chunks that are
   * not named there. A row that would not change is not written: its vector need not be indexed again.
   *
   * @param rows JSON, an array of ROW_TYPE
   */
  store(scope: IndexScope, documentId: string, rows: string, keep: readonly string[] | undefined): Statement {
    const params = new SqlParameters();
    const scopeColumns = `${params.add(scope.tenantId)}, ${params.add(scope.collection)}, ${params.add(scope.generation)}::int`;
    const columns: [string, string][] = STORED_COLUMNS.map(([column, field]) => [column, field]);
    if (this.#capabilities.vectors) columns.push(["embedding", "embedding::vector"]);
    const names = columns.map(([column]) => column);
    const changing = names.filter((column) => column !== "chunk_id");
    const gone =
      keep &&
      `WITH gone AS (
         DELETE FROM knowledge_chunks k
          WHERE ${scopeSql(scope, params)} AND document_id = ${params.add(documentId)} AND chunk_id <> ALL(${params.add(keep)}::text[])
       )`;
    const text = `
      ${gone ?? ""}
      INSERT INTO knowledge_chunks AS k (tenant_id, collection, generation, ${names.join(", ")})
      SELECT ${scopeColumns}, ${columns.map(([, field]) => field).join(", ")}
        FROM json_to_recordset(${params.add(rows)}::json) AS r (${ROW_TYPE})
      ON CONFLICT (tenant_id, collection, generation, chunk_id) DO UPDATE
        SET ${changing.map((column) => `${column} = excluded.${column}`).join(", ")}
        WHERE (${changing.map((column) => `k.${column}`).join(", ")})
          IS DISTINCT FROM (${changing.map((column) => `excluded.${column}`).join(", ")})`;
    return { text, params: params.values };
  }

  /** The candidates by meaning, with rank and score; see {@link VectorIndex.search}. */
  dense(query: IndexQuery, embedding: Float32Array, way: DenseWay): Statement {
    return way === "exact" ? nearestOfAll(query, embedding) : nearestByGraph(query, embedding, way);
  }

  /** The candidates by words, ranked by pg_textsearch. */
  lexicalByExtension(query: IndexQuery, terms: readonly string[]): Statement {
    return ranked(query, (params) => {
      const where = whereSql(query, params);
      return rankByExtension(params.add(terms.join(" ")), where, query.limit);
    });
  }

  /** The candidates by words, ranked over `tsvector`. */
  lexicalByTextSearch(query: IndexQuery, found: Pick<TextSearchOptions, "terms" | "clauses">): Statement {
    return ranked(query, (params) => {
      const { scope, filter, limit } = query;
      const where = `${wordsScopeSql(scope, params)}${filterSql(filter, params)}`;
      return rankByTextSearch({ ...found, where, isFiltered: (filter ?? []).length > 0, limit }, params);
    });
  }
}

function nearestOfAll(query: IndexQuery, embedding: Float32Array): Statement {
  return ranked(query, (params) => {
    const where = whereSql(query, params);
    const distance = distanceSql(embedding, params);
    // Adding zero hides the order from the graphs.
    return `SELECT chunk_id, 1 - distance AS score FROM (
      SELECT chunk_id, ${distance("vector")} AS distance FROM knowledge_chunks k
       WHERE ${where} AND vector_dims(k.embedding) = ${embedding.length}
       ORDER BY (${distance("vector")}) + 0 LIMIT ${query.limit}) nearest`;
  });
}

/** What the graph leads to is a row already, and need not be fetched again by its id. */
function nearestByGraph(query: IndexQuery, embedding: Float32Array, way: "scope" | "dimension"): Statement {
  const params = new SqlParameters();
  const { limit } = query;
  const where = whereSql(query, params);
  const distance = distanceSql(embedding, params);
  // The graph of a scope has the numbers in half precision: more are fetched, and compared in full.
  const [type, fetched] = way === "scope" ? (["halfvec", 2 * limit] as const) : (["vector", limit] as const);
  const text = `
    SELECT ${COLUMNS}, score, (row_number() OVER (ORDER BY score DESC, chunk_id))::int AS rank FROM (
      SELECT k.*, 1 - (${distance("vector")}) AS score FROM (
        SELECT k.* FROM knowledge_chunks k
         WHERE ${where} AND vector_dims(k.embedding) = ${embedding.length} AND ${HNSW_SETTINGS}
         ORDER BY ${distance(type)} LIMIT ${fetched}
      ) k ORDER BY score DESC LIMIT ${limit}
    ) k`;
  return { text, params: params.values };
}

/** The cosine distance of `k.embedding`, reckoned in a type of pgvector. */
function distanceSql(embedding: Float32Array, params: SqlParameters) {
  const [dimension, asked] = [embedding.length, params.add(vectorText(embedding))];
  return (type: "vector" | "halfvec") =>
    `(k.embedding::${type}(${dimension})) <=> ${asked}::vector(${dimension})::${type}(${dimension})`;
}

/**
 * Chunks with their rank and score, from what selects chunk_id and score. LIMIT, so that each is looked up by its key,
 * whatever the planner thinks of joining.
 */
function ranked({ scope }: IndexQuery, select: (params: SqlParameters) => string): Statement {
  const params = new SqlParameters();
  const text = `
    WITH found AS MATERIALIZED (${select(params)})
    SELECT ${COLUMNS}, found.score, (row_number() OVER (ORDER BY found.score DESC, found.chunk_id))::int AS rank
      FROM found CROSS JOIN LATERAL (
        SELECT * FROM knowledge_chunks k WHERE ${scopeSql(scope, params)} AND k.chunk_id = found.chunk_id LIMIT 1) k`;
  return { text, params: params.values };
}

function whereSql({ scope, filter }: IndexQuery, params: SqlParameters): string {
  return `${scopeSql(scope, params)}${filterSql(filter, params)}`;
}

/** The condition that keeps every statement in its scope. */
export function scopeSql(scope: ScopeSelection, params: SqlParameters): string {
  const owner = `k.tenant_id = ${params.add(scope.tenantId)} AND k.collection = ${params.add(scope.collection)}`;
  return scope.generation === undefined
    ? owner
    : `${owner} AND k.generation = ${params.add(scope.generation)}::int`;
}

/** pgvector's text form. Nine digits are what a float32 has. */
export function vectorText(embedding: Float32Array): string {
  return `[${Array.from(embedding, (number) => number.toPrecision(9)).join(",")}]`;
}
