/** What only the embedded database guarantees: alone on its directory, through crashes, closed cleanly. */
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { neonEndpointAddress } from "../../../backend/stores/neon-endpoint.ts";
import { type PgliteEvent, PgliteSqlClient } from "../../../backend/stores/pglite-sql-client.ts";
import { NeonSqlClient } from "../../../edge/directory/neon-sql-client.ts";

const BOOT_TIMEOUT_MS = 120_000;
const password = "pglite-sql-client-password";

describe("PgliteSqlClient", { timeout: BOOT_TIMEOUT_MS }, () => {
  let folder = "";
  let dataDirectory = "";
  const open = (more: { onEvent?: (event: PgliteEvent) => void; port?: number } = {}) =>
    PgliteSqlClient.open({
      dataDirectory,
      onEvent: more.onEvent ?? (() => undefined),
      ...(more.port === undefined ? {} : { endpoint: { password, port: more.port } }),
    });
  /** The one that a test opens; closed after it. */
  let client: PgliteSqlClient | undefined;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "parley-pglite-"));
    dataDirectory = join(folder, "nested", "postgres");
    client = await open();
    await client.runScript("CREATE TABLE numbers (number int); INSERT INTO numbers VALUES (1);");
  }, BOOT_TIMEOUT_MS);
  afterEach(() => client?.close(), BOOT_TIMEOUT_MS);
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it("makes its folder, and gives its lock back when it is closed", async () => {
    expect(existsSync(`${dataDirectory}.lock`)).toBe(true);
    await client?.close();
    await client?.close();
    expect(existsSync(`${dataDirectory}.lock`)).toBe(false);
    await expect(client?.query("SELECT 1", [])).rejects.toMatchObject({ code: "unavailable" });
  });

  it("has what was written when it is opened again", async () => {
    client = await open();
    expect(await client.query("SELECT number FROM numbers", [])).toEqual([{ number: 1 }]);
  });

  it("refuses a directory that is open already, naming the process", async () => {
    client = await open();
    await expect(open()).rejects.toMatchObject({
      code: "failed_precondition",
      message: expect.stringContaining(`in use by process ${process.pid}`),
    });
  });

  it("answers what was asked before it is closed", async () => {
    client = await open();
    const answers = Array.from({ length: 20 }, () => client?.query("SELECT 1 AS one", []));
    await client.close();
    expect(await Promise.all(answers)).toEqual(answers.map(() => [{ one: 1 }]));
  });

  it("does not block this thread while a statement runs", async () => {
    client = await open();
    const slow = client.query("SELECT count(*) FROM generate_series(1, 2000000)", []);
    let turns = 0;
    const timer = setInterval(() => turns++, 1);
    await slow;
    clearInterval(timer);
    expect(turns).toBeGreaterThan(10);
  });

  it("does not run a statement whose caller has gone before its turn came", async () => {
    client = await open();
    const controller = new AbortController();
    const slow = client.query("SELECT count(*) FROM generate_series(1, 1000000)", []);
    const given = client.query("INSERT INTO numbers VALUES (99)", [], controller.signal);
    controller.abort();
    await expect(given).rejects.toMatchObject({ code: "canceled" });
    await slow;
    expect(await client.query("SELECT 1 FROM numbers WHERE number = 99", [])).toEqual([]);
  });

  it("refuses more requests than it can answer in time, and goes on", async () => {
    client = await open();
    const answers = await Promise.allSettled(
      Array.from({ length: 2_500 }, () => client?.query("SELECT 1 AS one", [])),
    );
    expect(answers.filter(({ status }) => status === "rejected")).toHaveLength(500);
    expect(answers.at(-1)).toMatchObject({ reason: { code: "unavailable", retryable: true } });
    expect(await client.query("SELECT 1 AS one", [])).toEqual([{ one: 1 }]);
  });

  it("keeps a database apart that was left half made, and makes another one", async () => {
    const other = join(folder, "half-made");
    mkdirSync(`${other}.unfinished`);
    writeFileSync(join(`${other}.unfinished`, "PG_VERSION"), "18\n");
    const fresh = await PgliteSqlClient.open({ dataDirectory: other, onEvent: () => undefined });
    expect(await fresh.query("SELECT 1 AS one", [])).toEqual([{ one: 1 }]);
    await fresh.close();
    expect(existsSync(`${other}.unfinished`)).toBe(false);
  });

  it("gives the lock back when the database does not open", async () => {
    const other = join(folder, "broken");
    mkdirSync(other);
    writeFileSync(join(other, "PG_VERSION"), "18\n");
    const opening = PgliteSqlClient.open({ dataDirectory: other, onEvent: () => undefined });
    await expect(opening).rejects.toMatchObject({ code: "unavailable" });
    expect(existsSync(`${other}.lock`)).toBe(false);
  });

  describe("when PostgreSQL panics", () => {
    const log = () => join(dataDirectory, "pg_wal");
    /** The next segment of the log cannot be made: PostgreSQL gives up at once. */
    const panic = async () => {
      renameSync(log(), `${log()}.away`);
      await client?.query("SELECT pg_switch_wal()", []);
      return client?.query("INSERT INTO numbers VALUES (2)", []);
    };
    const mend = () => renameSync(`${log()}.away`, log());

    it("fails what was asked as unavailable, restarts, and has all that was committed", async () => {
      const events: PgliteEvent["kind"][] = [];
      client = await open({
        port: 0,
        onEvent: (event) => {
          events.push(event.kind);
          if (event.kind === "crashed") mend();
        },
      });
      const port = client.endpointPort;
      await client.query("INSERT INTO numbers VALUES (3)", []);
      await expect(panic()).rejects.toMatchObject({ code: "unavailable", retryable: true });
      await vi.waitFor(() => expect(events).toEqual(["crashed", "restarted"]), BOOT_TIMEOUT_MS);
      expect(await client.query("SELECT number FROM numbers WHERE number > 1", [])).toEqual([{ number: 3 }]);
      // The edge was told the port once.
      expect(client.endpointPort).toBe(port);
      const neon = new NeonSqlClient(neonEndpointAddress(port ?? 0, password));
      expect(await neon.query("SELECT 1 AS one", [])).toEqual([{ one: 1 }]);
    });

    it("gives up when it dies again right after", async () => {
      const events: PgliteEvent[] = [];
      client = await open({ onEvent: (event) => events.push(event) });
      await expect(panic()).rejects.toMatchObject({ code: "unavailable" });
      await vi.waitFor(() => expect(events).toHaveLength(2), BOOT_TIMEOUT_MS);
      expect(events).toMatchObject([
        { kind: "crashed", restarting: true },
        { kind: "crashed", restarting: false },
      ]);
      await expect(client.query("SELECT 1", [])).rejects.toMatchObject({ code: "unavailable" });
      mend();
    });
  });
});
