/**
 * What a PostgreSQL offers for search, found out by trying, and what the table `knowledge_chunks` needs for it:
 * the column, the indexes and the table that a migration cannot have, because not every database can.
 */
import { ParleyError } from "../../core/errors/parley-error.ts";
import type { SqlDatabase } from "../stores/sql-database.ts";
import { HAS_WORDS, PREPARE_WORDS } from "./postgres-words.ts";

/** How a database searches. */
export interface PostgresCapabilities {
  /** Whether it has pgvector, and `knowledge_chunks` the column `embedding`. */
  readonly vectors: boolean;
  /** Who ranks by words: pg_textsearch's BM25 index, or statements over `tsvector` (postgres-text-search.ts). */
  readonly lexical: "bm25" | "tsvector";
}

/** Any number that nothing else in the database locks. */
const LOCK_KEY = 5_064_770_916;
const BEGIN = `SET LOCAL statement_timeout = 0; SELECT pg_advisory_xact_lock(${LOCK_KEY});`;

/**
 * What is there already. ALTER TABLE waits for all who use the table, and has those who come wait for it, even when it
 * changes nothing; beside an index that is being built, it would be a deadlock.
 */
const FIND_PREPARED = `
  SELECT EXISTS (
    SELECT FROM pg_attribute WHERE attrelid = 'knowledge_chunks'::regclass AND attname = 'embedding') AS vectors,
  EXISTS (
    SELECT FROM pg_index WHERE indexrelid = to_regclass('knowledge_chunks_bm25')) AS bm25,
  ${HAS_WORDS}`;

/**
 * MAIN keeps the vector in the row, where an exact search reads it at once, and moves the texts out instead.
 */
const PREPARE_VECTORS = `
  ${BEGIN}
  CREATE EXTENSION IF NOT EXISTS vector;
  ALTER TABLE knowledge_chunks ADD COLUMN IF NOT EXISTS embedding vector;
  ALTER TABLE knowledge_chunks ALTER COLUMN embedding SET STORAGE MAIN;`;

/** The terms are words already: of the text configurations only `simple` leaves them alone. */
const PREPARE_BM25 = `
  ${BEGIN}
  CREATE EXTENSION IF NOT EXISTS pg_textsearch;
  CREATE INDEX IF NOT EXISTS knowledge_chunks_bm25 ON knowledge_chunks
    USING bm25 (terms) WITH (text_config = 'simple');`;

const NO_VECTORS =
  "this PostgreSQL has no pgvector that may be used: knowledge is searched by words alone. Install pgvector " +
  "0.8 or later (CREATE EXTENSION vector) and start again, or set MILVUS_ADDRESS";

/**
 * Prepares the table as well as the database can. Idempotent, and safe when several backends do it at once.
 *
 * @param onMissing told, in words for an operator, of what the database lacks
 * @throws ParleyError `unavailable` when the database cannot be reached
 */
export async function prepareCapabilities(
  database: SqlDatabase,
  onMissing: (what: string, cause: unknown) => void,
): Promise<PostgresCapabilities> {
  const [ready] = await database.query<{ vectors: boolean; bm25: boolean; words: boolean }>(
    FIND_PREPARED,
    [],
  );
  const onRefused = (cause: unknown) => onMissing(NO_VECTORS, cause);
  const vectors = ready?.vectors || (await attempt(database, PREPARE_VECTORS, onRefused));
  if (ready?.bm25 || (await attempt(database, PREPARE_BM25, () => undefined))) {
    return { vectors, lexical: "bm25" };
  }
  if (!ready?.words) await database.runScript(`${BEGIN} ${PREPARE_WORDS}`);
  return { vectors, lexical: "tsvector" };
}

/** Whether the database took it; that it is away is no answer. */
async function attempt(
  database: SqlDatabase,
  script: string,
  onRefused: (cause: unknown) => void,
): Promise<boolean> {
  try {
    await database.runScript(script);
    return true;
  } catch (error) {
    if (error instanceof ParleyError && error.code === "unavailable") throw error;
    onRefused(error);
    return false;
  }
}

/**
 * The index of all vectors of one dimension. pgvector's HNSW takes one dimension only, the column has any.
 *
 * @param dimension checked to be a whole number
 */
export function prepareDimensionSql(dimension: number): string {
  return `
    ${BEGIN}
    CREATE INDEX IF NOT EXISTS knowledge_chunks_hnsw_${dimension} ON knowledge_chunks
      USING hnsw ((embedding::vector(${dimension})) vector_cosine_ops) WITH (m = 16, ef_construction = 100)
      WHERE vector_dims(embedding) = ${dimension};`;
}

/** For PGlite, where an older version made one: each chunk stored would hold up everybody for 20 ms. */
export function dropDimensionSql(dimension: number): string {
  return `DROP INDEX IF EXISTS knowledge_chunks_hnsw_${dimension};`;
}
