/** Every contract on a real PostgreSQL: through node-postgres, and through an endpoint in front of it. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { migrate, readMigrations } from "../../../backend/stores/migrate.ts";
import {
  type NeonEndpoint,
  neonEndpointAddress,
  startNeonEndpoint,
} from "../../../backend/stores/neon-endpoint.ts";
import { PgRawSqlExecutor } from "../../../backend/stores/pg-raw-sql-executor.ts";
import { PgSqlClient } from "../../../backend/stores/pg-sql-client.ts";
import type { WithSession } from "../../../backend/stores/sql-database.ts";
import { NeonSqlClient } from "../../../edge/directory/neon-sql-client.ts";
import { isPostgresAvailable, startPostgres, type TestPostgres } from "../../support/postgres.ts";
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

const START_TIMEOUT_MS = 60_000;
/** With characters that a URL must escape. */
const password = "postgres/contract:p@ssword?";

describe.skipIf(!isPostgresAvailable())("a real PostgreSQL", () => {
  let server: TestPostgres;
  let url: string;
  let database: PgSqlClient;
  let otherBackend: PgSqlClient;
  let endpoint: NeonEndpoint;
  let neonClient: NeonSqlClient;
  const idleErrors: Error[] = [];
  const connect = (connectionString: string) =>
    new PgSqlClient({ connectionString, onIdleError: (error) => idleErrors.push(error) });

  beforeAll(async () => {
    server = await startPostgres();
    url = await server.createDatabase();
    database = connect(url);
    otherBackend = connect(url);
    endpoint = await startNeonEndpoint({
      executor: new PgRawSqlExecutor(database.pool),
      password,
      port: 0,
      onError: (error) => {
        throw error;
      },
    });
    neonClient = new NeonSqlClient(neonEndpointAddress(endpoint.port, password));
  }, START_TIMEOUT_MS);

  afterAll(async () => {
    await endpoint?.close();
    await otherBackend?.close();
    await database?.close();
    await server?.stop();
  }, START_TIMEOUT_MS);

  describe("through node-postgres", () => {
    const inSession: WithSession = (work, signal) => {
      if (!database.withSession) throw new Error("there are no sessions");
      return database.withSession(work, signal);
    };

    it("has sessions of their own, each statement a transaction, whose locks and settings go with them", async () => {
      const { signal } = new AbortController();
      const text =
        "SELECT pg_try_advisory_lock(1) AS locked, current_setting('statement_timeout') AS timeout";
      const [outer, inner] = await inSession(async (session) => {
        const first = await session.query(text, []);
        await session.query("CREATE TABLE apart (n int)", []);
        await session.query("CREATE INDEX CONCURRENTLY apart_n ON apart (n)", []);
        await session.query("DROP TABLE apart", []);
        return [first, await inSession((other) => other.query(text, []), signal)];
      }, signal);
      expect(outer).toEqual([{ locked: true, timeout: "0" }]);
      expect(inner).toEqual([{ locked: false, timeout: "0" }]);
      await expect(inSession((session) => session.query("nonsense", []), signal)).rejects.toMatchObject({
        code: "internal",
      });
      expect(await inSession((session) => session.query(text, []), signal)).toEqual(outer);
    });

    it("gives a session's statements all the time they need, whatever the database's own settings", async () => {
      const limits = ["statement_timeout", "lock_timeout", "transaction_timeout"];
      const name = new URL(url).pathname.slice(1);
      const known = await database.query<{ name: string }>(
        "SELECT name FROM pg_settings WHERE name = ANY($1)",
        [limits],
      );
      for (const limit of known)
        await database.query(`ALTER DATABASE ${name} SET ${limit.name} = '50ms'`, []);
      try {
        const text = "SELECT name, setting FROM pg_sleep(0.1), pg_settings WHERE name = ANY($1)";
        const settings = await inSession(
          (session) => session.query(text, [limits]),
          new AbortController().signal,
        );
        expect(settings).toEqual(known.map((limit) => ({ ...limit, setting: "0" })));
      } finally {
        await database.query(`ALTER DATABASE ${name} RESET ALL`, []);
      }
    });

    it("has none behind PgBouncer, which gives a session's connection to others", () => {
      const pooled = connect("postgres://parley@ep-name-123456-pooler.region.aws.neon.tech/parley");
      expect(pooled.withSession).toBeUndefined();
    });

    it("breaks a session off when the signal aborts", async () => {
      const stopping = new AbortController();
      const sleeping = inSession((session) => session.query("SELECT pg_sleep(60)", []), stopping.signal);
      stopping.abort();
      await expect(sleeping).rejects.toMatchObject({ code: "canceled" });
      await expect(inSession(async () => 1, stopping.signal)).rejects.toMatchObject({
        code: "canceled",
      });
    });

    migrateContract(() => [database, otherBackend]);
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
      taskArchiveContract(() => database, { exclusive: false });
    });
  });

  describe("through Neon's driver on an endpoint", () => {
    sqlClientContract(() => neonClient);
    directoryContract(() => neonClient);
    messageLogContract(() => neonClient);
    logReadingContract(() => neonClient);
    neonEndpointContract(() => ({ port: endpoint.port, password }));
  });

  describe("PgSqlClient", () => {
    it("survives idle connections that the server ends, and connects anew", async () => {
      const client = connect(url);
      await client.query("SELECT 1", []);
      const ended = new Promise((resolve) => client.pool.once("error", resolve));
      await otherBackend.query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()",
        [],
      );
      await ended;
      expect(idleErrors.length).toBeGreaterThan(0);
      expect(await client.query("SELECT 1 AS one", [])).toEqual([{ one: 1 }]);
      await client.close();
    });

    it("is unavailable, to be tried again, when the server ends the session in mid-statement", async () => {
      const client = connect(url);
      const sleeping = client.query("SELECT pg_sleep(30) /* to be ended */", []);
      const expectation = expect(sleeping).rejects.toMatchObject({ code: "unavailable", retryable: true });
      const end = `SELECT pg_terminate_backend(pid) AS ended FROM pg_stat_activity
                    WHERE query LIKE '%to be ended%' AND pid <> pg_backend_pid()`;
      while ((await otherBackend.query(end, [])).length === 0);
      await expectation;
      await client.close();
    });

    it("tells the server its name and its limit on statements", async () => {
      const [row] = await database.query(
        "SELECT current_setting('application_name') AS name, current_setting('statement_timeout') AS timeout",
        [],
      );
      expect(row).toEqual({ name: "parley-backend", timeout: "10s" });
    });

    it("runs a script of several statements as one transaction", async () => {
      await expect(database.runScript("CREATE TABLE half (id int); SELECT 1 / 0;")).rejects.toMatchObject({
        code: "internal",
      });
      const [row] = await database.query("SELECT to_regclass('half') IS NULL AS absent", []);
      expect(row).toEqual({ absent: true });
    });

    it.each([
      ["nobody listens", "postgres://parley@127.0.0.1:1/parley"],
      ["the database does not exist", () => url.replace(/[^/]+$/, "no_such_database")],
    ])("is unavailable, to be tried again, when %s", async (_, address) => {
      const client = connect(typeof address === "string" ? address : address());
      await expect(client.query("SELECT 1", [])).rejects.toMatchObject({
        code: "unavailable",
        retryable: true,
      });
      await client.close();
    });

    it("is unavailable after it was closed", async () => {
      const client = connect(url);
      await client.query("SELECT 1", []);
      await client.close();
      await client.close();
      await expect(client.query("SELECT 1", [])).rejects.toMatchObject({ code: "unavailable" });
    });
  });
});
