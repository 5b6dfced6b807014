/** What the embedded database still has after a kill, and what it does so that a power cut is no worse. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from "vitest";
import { GroupCommitLog } from "../../../backend/stores/message-log.ts";
import { readMigrations } from "../../../backend/stores/migrate.ts";
import { parameterText } from "../../../backend/stores/parameter-text.ts";
import { openPglite, PgliteEngine } from "../../../backend/stores/pglite-engine.ts";
import { PgliteSqlClient } from "../../../backend/stores/pglite-sql-client.ts";
import { SqlMessageLogStore } from "../../../backend/stores/sql-message-log.ts";
import type { SqlClient } from "../../../core/directory/sql-client.ts";
import { logEntry } from "./message-log.contract.ts";

const BOOT_TIMEOUT_MS = 120_000;
/** A round each: killed after that many rows. */
const KILLED_AFTER_ROWS = [1, 100, 300];
const synced = vi.hoisted(() => ({ count: 0 }));
vi.mock("node:fs", async (importOriginal) => {
  const fs = await importOriginal<typeof import("node:fs")>();
  const fsyncSync = (file: number) => {
    synced.count++;
    fs.fsyncSync(file);
  };
  return { ...fs, fsyncSync };
});

describe("the embedded database", { timeout: BOOT_TIMEOUT_MS }, () => {
  const folder = mkdtempSync(join(tmpdir(), "parley-pglite-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  /** Lets a process insert rows, kills it after that many are acknowledged; returns the last one acknowledged. */
  const insertUntilKilled = async (
    dataDirectory: string,
    acknowledgedMin: number,
    mode: "strict" | "relaxed",
  ): Promise<number> => {
    const program = new URL("./insert-until-killed.ts", import.meta.url).pathname;
    const child = spawn(process.execPath, [program, dataDirectory, mode], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const exited = once(child, "exit");
    let output = "";
    let lines = 0;
    for await (const text of child.stdout.setEncoding("utf8") as AsyncIterable<string>) {
      output += text;
      lines += text.split("\n").length - 1;
      if (lines >= acknowledgedMin) child.kill("SIGKILL");
    }
    await exited;
    return Number(output.slice(0, output.lastIndexOf("\n")).split("\n").at(-1));
  };

  it.each(["strict", "relaxed"] as const)(
    "has every acknowledged row (%s) after kill -9 in the middle of writing, time and again",
    async (mode) => {
      const dataDirectory = join(folder, `killed-${mode}`, "postgres");
      for (const acknowledgedMin of KILLED_AFTER_ROWS) {
        const acknowledged = await insertUntilKilled(dataDirectory, acknowledgedMin, mode);
        expect(existsSync(`${dataDirectory}.lock`)).toBe(true);
        const database = await PgliteSqlClient.open({ dataDirectory, onEvent: () => undefined });
        const [rows] = await database.query<{ count: number; last: number }>(
          "SELECT count(*)::int AS count, max(number) AS last FROM numbers",
          [],
        );
        await database.close();
        // Every row up to the last one that was written, which may have been written and not acknowledged.
        expect(rows?.count).toBe(rows?.last);
        expect(rows?.count).toBeGreaterThanOrEqual(acknowledged);
      }
    },
  );

  it("starts after kill -9 while the database is first made", async () => {
    const dataDirectory = join(folder, "killed-early", "postgres");
    const program = new URL("./insert-until-killed.ts", import.meta.url).pathname;
    const child = spawn(process.execPath, [program, dataDirectory], { stdio: "ignore" });
    const exited = once(child, "exit");
    await vi.waitUntil(() => existsSync(`${dataDirectory}.unfinished`), {
      timeout: BOOT_TIMEOUT_MS,
      interval: 5,
    });
    child.kill("SIGKILL");
    await exited;
    const database = await PgliteSqlClient.open({ dataDirectory, onEvent: () => undefined });
    expect(await database.query("SELECT 1 AS one", [])).toEqual([{ one: 1 }]);
    await database.close();
  });

  it("has on the disk what a relaxed statement wrote before it ends", async () => {
    const engine = new PgliteEngine(await openPglite(join(folder, "closed")), (error) => {
      throw error;
    });
    await engine.runScript("CREATE TABLE relaxed (id int)");
    const before = synced.count;
    await engine.executeRelaxed({ text: "INSERT INTO relaxed VALUES (1)", params: [] });
    expect(synced.count).toBe(before);
    await engine.close();
    expect(synced.count).toBeGreaterThan(before);
  });

  describe("opened in this thread", () => {
    let engine: PgliteEngine;
    const run = (text: string) => engine.execute({ text, params: [] });
    beforeAll(async () => {
      engine = new PgliteEngine(await openPglite(join(folder, "engine")), (error) => {
        throw error;
      });
    }, BOOT_TIMEOUT_MS);
    afterAll(() => engine.close());

    it("has a commit on the disk, not only in the system's cache, before it acknowledges it", async () => {
      await run("CREATE TABLE synced (id int)");
      for (let id = 0; id < 5; id++) {
        const before = synced.count;
        await run(`INSERT INTO synced VALUES (${id})`);
        expect(synced.count).toBeGreaterThan(before);
      }
      const before = synced.count;
      await run("SELECT * FROM synced");
      expect(synced.count).toBe(before);
    });

    it("answers a relaxed statement without waiting for the disk, and has it there 50 ms later", async () => {
      await run("CREATE TABLE relaxed (id int)");
      vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
      onTestFinished(() => void vi.useRealTimers());
      const insertRelaxed = (id: number) =>
        engine.executeRelaxed({ text: `INSERT INTO relaxed VALUES (${id})`, params: [] });
      const before = synced.count;
      await insertRelaxed(1);
      await run("SELECT * FROM relaxed");
      vi.advanceTimersByTime(49);
      expect(synced.count).toBe(before);
      vi.advanceTimersByTime(1);
      expect(synced.count).toBe(before + 1);

      await insertRelaxed(2);
      expect(synced.count).toBe(before + 1);
      await run("INSERT INTO relaxed VALUES (3)");
      expect(synced.count).toBe(before + 2);
    });

    it("waits for the disk once for a whole batch of the message log, however many rows it has", async () => {
      for (const { sql } of await readMigrations()) await engine.runScript(sql);
      const client: SqlClient = {
        async query(text, params) {
          await engine.execute({ text, params: params.map(parameterText) });
          return [];
        },
      };
      const store = new SqlMessageLogStore(client);
      const log = new GroupCommitLog({
        store,
        now: Date.now,
        random: Math.random,
        onFailure: () => undefined,
      });
      const syncsFor = async (rows: number) => {
        const before = synced.count;
        await Promise.all(Array.from({ length: rows }, (_, id) => log.append(logEntry(`${rows}-${id}`))));
        return synced.count - before;
      };
      await syncsFor(200);
      expect(await syncsFor(1)).toBe(1);
      expect(await syncsFor(100)).toBeLessThanOrEqual(2);
    });

    it("keeps its log of changes short: a checkpoint is written once 16 MiB have come together", async () => {
      await run("CREATE TABLE filler (text text)");
      expect(await engine.checkpointIfDue()).toBe(false);
      await run("INSERT INTO filler SELECT repeat(md5(i::text), 60) FROM generate_series(1, 10000) i");
      expect(await engine.checkpointIfDue()).toBe(true);
      expect(await engine.checkpointIfDue()).toBe(false);
    });

    it("has its planner know every table, and look again once half of one has changed", async () => {
      const rowsExpected = async () => {
        const { rows } = await engine.execute({
          text: "SELECT reltuples::int FROM pg_class WHERE relname = 'Grown \"up\"'",
          params: [],
        });
        return rows[0]?.[0];
      };
      const add = (count: number) =>
        run(`INSERT INTO "Grown ""up""" SELECT i FROM generate_series(1, ${count}) i`);
      await run('CREATE TABLE "Grown ""up""" (id integer)');
      await engine.tidyIfDue();
      expect(await rowsExpected()).toBe("-1");
      await add(10);
      expect(await engine.tidyIfDue()).toContain('ANALYZE public."Grown ""up"""');
      expect(await rowsExpected()).toBe("10");

      await add(1_000);
      await run("SELECT pg_stat_force_next_flush()");
      expect(await engine.tidyIfDue()).toContain('ANALYZE public."Grown ""up"""');
      expect(await rowsExpected()).toBe("1010");
      await add(300);
      await run("SELECT pg_stat_force_next_flush()");
      expect(await engine.tidyIfDue()).not.toContain('ANALYZE public."Grown ""up"""');
    });

    it("gives the space of deleted rows to new ones, once they are a fifth", async () => {
      const pages = async () => {
        const { rows } = await engine.execute({ text: "SELECT pg_relation_size('litter')", params: [] });
        return Number(rows[0]?.[0]);
      };
      const add = () => run("INSERT INTO litter SELECT i, repeat('x', 100) FROM generate_series(1, 10000) i");
      const drop = async (upTo: number) => {
        await run(`DELETE FROM litter WHERE id <= ${upTo}`);
        await run("SELECT pg_stat_force_next_flush()");
      };
      await run("CREATE TABLE litter (id integer, text text)");
      await add();
      await engine.tidyIfDue();
      const before = await pages();
      await drop(2_000);
      expect((await engine.tidyIfDue()).filter((text) => text.startsWith("VACUUM"))).toEqual([]);
      await drop(10_000);
      expect(await engine.tidyIfDue()).toContain("VACUUM public.litter");
      await add();
      expect(await pages()).toBe(before);
    });
  });
});
