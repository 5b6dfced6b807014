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
  /** Builds what the index builds in the background when it comes to rest. Absent where there is no such thing. */
  readonly settle?: (signal: AbortSignal) => Promise<void>;
  /** Megabytes on the disk, by what has them. */
  readonly sizes?: () => Promise<Record<string, number>>;
  close(): Promise<void>;
}

/** Tables and indexes of the knowledge; of a table with what it keeps apart. */
const SIZES = `
  SELECT relname AS name, (CASE relkind WHEN 'i' THEN pg_relation_size(oid) ELSE pg_table_size(oid) END) / 1048576.0 AS mb
    FROM pg_class WHERE relname ~ '^knowledge_(chunks|words|graph)' AND relkind IN ('r', 'i') ORDER BY mb DESC`;

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
    async settle(signal) {
      // Growing at the first look, at rest at the second.
      for (let look = 1; look <= 2; look++) await index.graphs?.tend(signal);
    },
    async sizes() {
      const rows = await database.query<{ name: string; mb: string }>(SIZES, []);
      return Object.fromEntries(rows.map(({ name, mb }) => [name, Number(mb)]));
    },
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
