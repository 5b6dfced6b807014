/** Backends for faults to happen to, with what they stand on and the key that opens them. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PgSqlClient } from "../../backend/stores/pg-sql-client.ts";
import type { SqlClient } from "../../core/directory/sql-client.ts";
import { NeonSqlClient } from "../../edge/directory/neon-sql-client.ts";
import { BackendProcess } from "../support/backend-process.ts";
import { copyEmptyDatabase } from "../support/database-template.ts";
import { startPostgres } from "../support/postgres.ts";
import { startRedis, type TestRedis } from "../support/redis.ts";

/** Where models answer. */
type Provider = { readonly baseUrl: string };

/** All of it. */
export interface Scene {
  readonly backends: readonly BackendProcess[];
  /** As of now: an embedded one is another one after each start. */
  readonly database: () => SqlClient;
  /** The development key's. */
  readonly headers: Record<string, string>;
  close(): Promise<void>;
}

/** A scene whose backends share a Redis. */
export interface SharedScene extends Scene {
  /** Kills Redis, and starts another one, empty, in its place. */
  restartRedis(): Promise<void>;
  /** To be stopped and continued with signals. */
  redis(): TestRedis;
}

function environmentOf(model: Provider, directory: string): Record<string, string> {
  return {
    DATA_DIRECTORY: directory,
    DEVELOPMENT_KEY_FILE: join(directory, "key"),
    OPENAI_BASE_URL: model.baseUrl,
    OPENAI_API_KEY: "double",
    OPENAI_MODEL: "healthy",
  };
}

function headersFrom(directory: string): Record<string, string> {
  return { authorization: `Bearer ${readFileSync(join(directory, "key"), "utf8").trim()}` };
}

/** Nobody is to be refused for asking often; changed before the first call, as backends remember limits. */
export async function raiseLimits(database: SqlClient): Promise<void> {
  await database.query("UPDATE tenants SET limits = $1::jsonb WHERE id = 'default'", [
    JSON.stringify({ requestsPerMinute: 1_000_000, tokensPerMinute: 1e9, tenantTokensPerMinute: 1e9 }),
  ]);
}

/** Backends (by default two) on one Redis and one PostgreSQL. */
export async function openShared(model: Provider, count = 2): Promise<SharedScene> {
  const directory = mkdtempSync(join(tmpdir(), "parley-faults-"));
  const [started, postgres] = await Promise.all([startRedis(), startPostgres()]);
  let redis = started;
  const databaseUrl = await postgres.createDatabase();
  const environment = {
    ...environmentOf(model, directory),
    REDIS_URL: redis.url,
    DATABASE_URL: databaseUrl,
  };
  // The first one makes the schema and the key.
  const first = await BackendProcess.start(environment);
  const others = Array.from({ length: count - 1 }, () => BackendProcess.start(environment));
  const backends = [first, ...(await Promise.all(others))];
  const client = new PgSqlClient({ connectionString: databaseUrl, onIdleError: () => {} });
  await raiseLimits(client);
  return {
    backends,
    database: () => client,
    headers: headersFrom(directory),
    redis: () => redis,
    async restartRedis() {
      await redis.stop();
      redis = await startRedis({ port: Number(new URL(redis.url).port) });
    },
    async close() {
      await Promise.all(backends.map((backend) => backend.kill()));
      await client.close();
      await Promise.all([redis.stop(), postgres.stop()]);
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** One backend with nothing configured. */
export async function openEmbedded(model: Provider): Promise<Scene> {
  const directory = mkdtempSync(join(tmpdir(), "parley-faults-"));
  await copyEmptyDatabase(join(directory, "postgres"));
  const backend = await BackendProcess.start({
    ...environmentOf(model, directory),
    NEON_ENDPOINT_SECRET: crypto.randomUUID(),
  });
  const database = () => {
    const { databaseUrl = "", neonEndpoint = "" } = backend.ready;
    return new NeonSqlClient({ connectionString: databaseUrl, fetchEndpoint: neonEndpoint });
  };
  await raiseLimits(database());
  return {
    backends: [backend],
    database,
    headers: headersFrom(directory),
    async close() {
      await backend.kill();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
