/**
 * The statements of the index in PostgreSQL. The scope stands in every WHERE, as parameters; what differs between
 * databases and questions is put together here from fixed pieces.
 */
import type { SqlParam } from "../../core/directory/sql-client.ts";
import type { Chunk } from "./chunk.ts";
import type { PostgresCapabilities } from "./postgres-capabilities.ts";
import { filterSql, SqlParameters } from "./postgres-filter.ts";
import { rankByExtension, rankByTextSearch, type TextSearchOptions } from "./postgres-lexical.ts";
import type { IndexQuery, IndexScope } from "./vector-index.ts";

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

/** Of the HNSW graph, how many nodes are looked at: recall 0.97 and more on 100,000 chunks of 384 numbers. */
const HNSW_EF_SEARCH = 120;
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

  /**
   * The candidates by meaning, with rank and score; see {@link VectorIndex.search}. Undefined without vectors.
   *
   * @param exact whether all vectors of the scope are read, instead of the graph
   */
  dense(query: IndexQuery, exact: boolean): Statement | undefined {
    const { embedding, limit } = query;
    if (!embedding || !this.#capabilities.vectors) return undefined;
    return ranked(query, (where, params) => {
      const type = `vector(${embedding.length})`;
      const distance = `(k.embedding::${type}) <=> ${params.add(vectorText(embedding))}::${type}`;
      const dimension = `vector_dims(k.embedding) = ${embedding.length}`;
      // Adding zero hides the order from the index: the rows of a small scope are read and sorted.
      const nearest = exact
        ? `SELECT chunk_id, ${distance} AS distance FROM knowledge_chunks k
            WHERE ${where} AND ${dimension} ORDER BY (${distance}) + 0 LIMIT ${limit}`
        : `SELECT chunk_id, ${distance} AS distance FROM knowledge_chunks k
            WHERE ${where} AND ${dimension} AND ${HNSW_SETTINGS} ORDER BY ${distance} LIMIT ${limit}`;
      return `SELECT chunk_id, 1 - distance AS score FROM (${nearest}) nearest`;
    });
  }

  /** The candidates by words, ranked by pg_textsearch. */
  lexicalByExtension(query: IndexQuery, terms: readonly string[]): Statement {
    return ranked(query, (where, params) => rankByExtension(params.add(terms.join(" ")), where, query.limit));
  }

  /** The candidates by words, ranked over `tsvector`. */
  lexicalByTextSearch(query: IndexQuery, found: Pick<TextSearchOptions, "terms" | "clauses">): Statement {
    return ranked(query, (where, params) =>
      rankByTextSearch({ ...found, where, limit: query.limit }, params),
    );
  }
}

/** Chunks with their rank and score, from what selects chunk_id and score. */
function ranked(
  { scope, filter }: IndexQuery,
  select: (where: string, params: SqlParameters) => string,
): Statement {
  const params = new SqlParameters();
  const scoped = scopeSql(scope, params);
  const text = `
    WITH found AS MATERIALIZED (${select(`${scoped}${filterSql(filter, params)}`, params)})
    SELECT ${COLUMNS}, found.score, (row_number() OVER (ORDER BY found.score DESC, chunk_id))::int AS rank
      FROM found JOIN knowledge_chunks k USING (chunk_id) WHERE ${scoped}`;
  return { text, params: params.values };
}

/** The condition that keeps every statement in its scope. */
export function scopeSql(
  scope: Omit<IndexScope, "generation"> & { generation?: number | undefined },
  params: SqlParameters,
): string {
  const owner = `k.tenant_id = ${params.add(scope.tenantId)} AND k.collection = ${params.add(scope.collection)}`;
  return scope.generation === undefined
    ? owner
    : `${owner} AND k.generation = ${params.add(scope.generation)}::int`;
}

/** pgvector's text form. Nine digits are what a float32 has. */
export function vectorText(embedding: Float32Array): string {
  return `[${Array.from(embedding, (number) => number.toPrecision(9)).join(",")}]`;
}
