/**
 * The database that the command line works on: the one that DATABASE_URL names, else that of the gateway running on
 * this machine, through the endpoint that its edge uses, else the embedded one, opened here.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { migrate, readMigrations } from "../backend/stores/migrate.ts";
import { PgSqlClient } from "../backend/stores/pg-sql-client.ts";
import { PgliteSqlClient } from "../backend/stores/pglite-sql-client.ts";
import { seedDirectory } from "../backend/stores/seed.ts";
import type { SqlClient } from "../core/directory/sql-client.ts";
import { NeonSqlClient } from "../edge/directory/neon-sql-client.ts";
import { processIdentity } from "./process-identity.ts";
import { readRunFile } from "./run-file.ts";
import type { StartSettings } from "./start-settings.ts";

/** Nobody waits for the command line but its user, and a document of 16 MiB goes in one statement. */
const STATEMENT_TIMEOUT_MS = 30_000;

/** An open database. */
export interface AdminDatabase {
  readonly sql: SqlClient;
  close(): Promise<void>;
}

/**
 * Opens it. The embedded database is brought to the schema of this version; any other is the business of the
 * backend that runs on it.
 *
 * @throws ParleyError when the embedded database is in use or does not open
 */
export async function openAdminDatabase(settings: StartSettings): Promise<AdminDatabase> {
  const connectionString = settings.environment["DATABASE_URL"];
  if (connectionString) {
    const client = new PgSqlClient({
      connectionString,
      applicationName: "parley-admin",
      onIdleError: () => undefined,
    });
    return { sql: client, close: () => client.close() };
  }
  const running = openRunningGateway(settings.dataDirectory);
  return running ? { sql: running, close: async () => undefined } : openEmbedded(settings.dataDirectory);
}

/** The endpoint's address and password stand in the configuration that the running edge was given. */
function openRunningGateway(dataDirectory: string): SqlClient | undefined {
  const run = readRunFile(join(dataDirectory, "run.json"));
  const configFile = join(dataDirectory, "edge.capnp");
  if (!run || processIdentity(run.process.pid) !== run.process.identity) return undefined;
  if (run.state !== "ready" || !existsSync(configFile)) {
    throw new Error("the gateway is starting at this moment; try again when it serves");
  }
  const config = readFileSync(configFile, "utf8");
  const variable = (name: string) => new RegExp(`name = "${name}", text = "([^"]*)"`).exec(config)?.[1];
  const [connectionString, fetchEndpoint] = [variable("DATABASE_URL"), variable("DATABASE_ENDPOINT")];
  if (!connectionString || !fetchEndpoint) {
    throw new Error(`the running gateway's database is not named in ${configFile}; set DATABASE_URL`);
  }
  return new NeonSqlClient({ connectionString, fetchEndpoint, timeoutMs: STATEMENT_TIMEOUT_MS });
}

async function openEmbedded(dataDirectory: string): Promise<AdminDatabase> {
  const client = await PgliteSqlClient.open({
    dataDirectory: join(dataDirectory, "postgres"),
    onEvent: () => undefined,
  });
  await migrate(client, await readMigrations());
  await seedDirectory(client);
  return { sql: client, close: () => client.close() };
}
