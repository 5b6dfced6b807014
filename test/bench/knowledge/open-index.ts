/** The indexes that the bench measures, each with a real engine of its own that ends with the bench. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MilvusConnection } from "../../../backend/knowledge/milvus-connection.ts";
import { MilvusVectorIndex } from "../../../backend/knowledge/milvus-vector-index.ts";
import { PostgresVectorIndex } from "../../../backend/knowledge/postgres-vector-index.ts";
import type { VectorIndex } from "../../../backend/knowledge/vector-index.ts";
import { migrate, readMigrations } from "../../../backend/stores/migrate.ts";
import { PgSqlClient } from "../../../backend/stores/pg-sql-client.ts";
import { PgliteSqlClient } from "../../../backend/stores/pglite-sql-client.ts";
import type { SqlDatabase } from "../../../backend/stores/sql-database.ts";
import { startMilvus } from "../../support/milvus.ts";
import { startPostgres } from "../../support/postgres.ts";

/** An index, ready. */
export interface OpenIndex {
  /** What it is, for the report. */
  readonly name: string;
  readonly index: VectorIndex;
  close(): Promise<void>;
}

const now = () => performance.now();

/** Which engines there are; `--index` names one. */
export const INDEX_KINDS = { pglite: openPglite, postgres: openPostgres, milvus: openMilvus } as const;

/** A key of {@link INDEX_KINDS}. */
export type IndexKind = keyof typeof INDEX_KINDS;

/** Whether there is such an engine. */
export function isIndexKind(name: string): name is IndexKind {
  return name in INDEX_KINDS;
}

async function openPglite(): Promise<OpenIndex> {
  const folder = mkdtempSync(join(tmpdir(), "parley-bench-"));
  const database = await PgliteSqlClient.open({
    dataDirectory: join(folder, "postgres"),
    onEvent: (event) => {
      throw new Error(`PGlite: ${JSON.stringify(event)}`);
    },
  });
  const index = await sqlIndex(database);
  return {
    name: "PGlite",
    index,
    async close() {
      await database.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function openPostgres(): Promise<OpenIndex> {
  const server = await startPostgres({ program: "pgvector" });
  const database = new PgSqlClient({
    connectionString: await server.createDatabase(),
    onIdleError: (error) => {
      throw error;
    },
  });
  const index = await sqlIndex(database);
  return {
    name: "PostgreSQL + pgvector",
    index,
    async close() {
      await database.close();
      await server.stop();
    },
  };
}

async function sqlIndex(database: SqlDatabase): Promise<PostgresVectorIndex> {
  await migrate(database, await readMigrations());
  return new PostgresVectorIndex({
    database,
    now,
    onMissing: (what, cause) => {
      throw new Error(what, { cause });
    },
  });
}

async function openMilvus(): Promise<OpenIndex> {
  const server = await startMilvus();
  const connection = new MilvusConnection({ address: server.address, token: undefined });
  return {
    name: "Milvus Lite",
    index: new MilvusVectorIndex({ connection, now, consistency: "Strong" }),
    async close() {
      await connection.close();
      await server.stop();
    },
  };
}
