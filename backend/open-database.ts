/** Opens the database that the configuration names, and with it the local edge's way to it. */
import type { Logger } from "pino";
import type { BackendConfig } from "./config.ts";
import { neonEndpointAddress, startNeonEndpoint } from "./stores/neon-endpoint.ts";
import { PgRawSqlExecutor } from "./stores/pg-raw-sql-executor.ts";
import { PgSqlClient } from "./stores/pg-sql-client.ts";
import { type PgliteEvent, PgliteSqlClient } from "./stores/pglite-sql-client.ts";
import type { SqlDatabase } from "./stores/sql-database.ts";

/** An open database. */
export interface OpenDatabase {
  client: SqlDatabase;
  /** What a local edge needs to read it; undefined when no endpoint was asked for. */
  edgeAccess: { connectionString: string; fetchEndpoint: string } | undefined;
  close(): Promise<void>;
}

/** PostgreSQL when `DATABASE_URL` is set, else PGlite in the data directory. */
export async function openDatabase(config: BackendConfig, logger: Logger): Promise<OpenDatabase> {
  const password = config.NEON_ENDPOINT_SECRET;
  const port = config.NEON_ENDPOINT_PORT;
  if (config.DATABASE_URL === undefined) {
    const client = await PgliteSqlClient.open({
      dataDirectory: `${config.DATA_DIRECTORY}/postgres`,
      ...(password === undefined ? {} : { endpoint: { password, port } }),
      onEvent: (event) => logPgliteEvent(event, logger),
    });
    const { endpointPort } = client;
    const edgeAccess =
      password === undefined || endpointPort === undefined
        ? undefined
        : neonEndpointAddress(endpointPort, password);
    return { client, edgeAccess, close: () => client.close() };
  }
  const client = new PgSqlClient({
    connectionString: config.DATABASE_URL,
    onIdleError: (error) => logger.warn({ err: error }, "an idle database connection broke"),
  });
  if (password === undefined) return { client, edgeAccess: undefined, close: () => client.close() };
  const endpoint = await startNeonEndpoint({
    executor: new PgRawSqlExecutor(client.pool),
    password,
    port,
    onError: (error) => logger.error({ err: error }, "the database endpoint could not answer"),
  });
  return {
    client,
    edgeAccess: neonEndpointAddress(endpoint.port, password),
    async close() {
      await endpoint.close();
      await client.close();
    },
  };
}

function logPgliteEvent(event: PgliteEvent, logger: Logger): void {
  if (event.kind === "restarted") logger.warn("the embedded database runs again");
  else logger.error({ event: event.kind, err: event.error }, "the embedded database has trouble");
}
