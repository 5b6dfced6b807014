/** Every contract on the embedded database: through its worker, and through the endpoint that the worker serves. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe } from "vitest";
import { migrate, readMigrations } from "../../../backend/stores/migrate.ts";
import { neonEndpointAddress } from "../../../backend/stores/neon-endpoint.ts";
import { PgliteSqlClient } from "../../../backend/stores/pglite-sql-client.ts";
import { NeonSqlClient } from "../../../edge/directory/neon-sql-client.ts";
import { collectionStoreContract } from "./collection-store.contract.ts";
import { conversationLogContract } from "./conversation-log.contract.ts";
import { directoryContract } from "./directory.contract.ts";
import { logReadingContract } from "./log-reading.contract.ts";
import { messageLogContract } from "./message-log.contract.ts";
import { migrateContract } from "./migrate.contract.ts";
import { neonEndpointContract } from "./neon-endpoint.contract.ts";
import { retentionContract } from "./retention.contract.ts";
import { sqlClientContract } from "./sql-client.contract.ts";
import { taskArchiveContract } from "./task-archive.contract.ts";

const BOOT_TIMEOUT_MS = 120_000;
const password = "pglite-contract-password";
let folder = "";
let database: PgliteSqlClient;
let neonClient: NeonSqlClient;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "parley-pglite-"));
  database = await PgliteSqlClient.open({
    dataDirectory: join(folder, "postgres"),
    endpoint: { password, port: 0 },
    onEvent: (event) => {
      throw new Error(`unexpected: ${JSON.stringify(event)}`);
    },
  });
  neonClient = new NeonSqlClient(neonEndpointAddress(database.endpointPort ?? 0, password));
}, BOOT_TIMEOUT_MS);

afterAll(async () => {
  await database?.close();
  rmSync(folder, { recursive: true, force: true });
}, BOOT_TIMEOUT_MS);

describe("PGlite in its worker", () => {
  migrateContract(() => [database, database]);
  describe("with the schema of this version", () => {
    beforeAll(async () => {
      await migrate(database, await readMigrations());
    });
    sqlClientContract(() => database);
    directoryContract(() => database);
    messageLogContract(() => database);
    logReadingContract(() => database);
    conversationLogContract(() => database);
    retentionContract(() => database);
    collectionStoreContract(() => database);
    taskArchiveContract(() => database, { exclusive: true });
  });
});

describe("Neon's driver on PGlite's endpoint", () => {
  sqlClientContract(() => neonClient);
  directoryContract(() => neonClient);
  messageLogContract(() => neonClient);
  logReadingContract(() => neonClient);
  neonEndpointContract(() => ({ port: database.endpointPort ?? 0, password }));
});
