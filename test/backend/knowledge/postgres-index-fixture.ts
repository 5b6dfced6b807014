/** An index in a database of its own, and chunks in numbers that no test would store one by one. */
import { PostgresVectorIndex } from "../../../backend/knowledge/postgres-vector-index.ts";
import type { IndexScope } from "../../../backend/knowledge/vector-index.ts";
import { migrate, readMigrations } from "../../../backend/stores/migrate.ts";
import { PgSqlClient } from "../../../backend/stores/pg-sql-client.ts";
import type { SqlDatabase } from "../../../backend/stores/sql-database.ts";
import type { TestPostgres } from "../../support/postgres.ts";

/** A new database with its schema; `open` is another backend's index in it, `missing` what they were told that it lacks. */
export async function openIndex(server: TestPostgres) {
  const database = new PgSqlClient({
    connectionString: await server.createDatabase(),
    onIdleError: (error) => {
      throw error;
    },
  });
  await migrate(database, await readMigrations());
  const missing: string[] = [];
  const options = { database, now: () => performance.now(), onMissing: (what: string) => missing.push(what) };
  return { database, missing, open: () => new PostgresVectorIndex(options) };
}

/** Chunks of 8 numbers, of which every 500th is rare. */
export async function insertLarge(database: SqlDatabase, scope: IndexScope, chunks: number): Promise<void> {
  await database.query(
    `INSERT INTO knowledge_chunks (tenant_id, collection, generation, chunk_id, document_id, ordinal, title, headings,
       text, start_offset, end_offset, content_hash, metadata, terms, embedding)
     SELECT $1, $2, $3::int, n::text, n::text, 0, '', '[]', '', 0, 0, '', jsonb_build_object('rare', n % 500 = 0), '',
       ARRAY(SELECT sin(n * (d + 1)) FROM generate_series(1, 8) d)::vector
       FROM generate_series(1, $4::int) n`,
    [scope.tenantId, scope.collection, scope.generation, chunks],
  );
}
