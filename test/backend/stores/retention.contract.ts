/** What the retention job deletes and what it leaves, on every database. Needs the schema. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { GroupCommitLog } from "../../../backend/stores/message-log.ts";
import { Retention } from "../../../backend/stores/retention.ts";
import { SqlMessageLogStore } from "../../../backend/stores/sql-message-log.ts";
import type { SqlClient } from "../../../core/directory/sql-client.ts";
import { logEntry } from "./message-log.contract.ts";

const DAY_MS = 86_400_000;
const nowMs = Date.parse("2026-11-22T12:00:00Z");
const attempts = [{ model: "openai/a", outcome: "answered", durationMs: 1 }];

/** @param client the client under test; asked for only inside tests */
export function retentionContract(client: () => SqlClient): void {
  const newJob = (query: SqlClient["query"] = (...call) => client().query(...call)) => {
    const delays: number[] = [];
    const failures: unknown[] = [];
    const deleted: object[] = [];
    const job = new Retention({
      client: { query },
      now: () => nowMs,
      random: () => 0.5,
      onDeleted: (counts) => deleted.push(counts),
      onFailure: (error) => failures.push(error),
      sleep: (delayMs, signal) => {
        delays.push(delayMs);
        if (delayMs < 3_600_000) return Promise.resolve();
        return new Promise((_, reject) => {
          if (signal.aborted) reject(signal.reason);
          else signal.addEventListener("abort", () => reject(signal.reason), { once: true });
        });
      },
    });
    return { job, delays, failures, deleted };
  };
  const setTenant = (id: string, retentionDays: number | null) =>
    client().query(
      `INSERT INTO tenants (id, name, retention_days) VALUES ($1, $1, $2)
       ON CONFLICT (id) DO UPDATE SET retention_days = $2`,
      [id, retentionDays],
    );
  const write = (tenantId: string, count: number, createdAtMs: number) => {
    const store = new SqlMessageLogStore(client());
    const log = new GroupCommitLog({ store, now: Date.now, random: Math.random, onFailure: () => undefined });
    return Promise.all(
      Array.from({ length: count }, (_, index) => {
        const taskId = `task-${createdAtMs}-${index}`;
        return log.append(logEntry("m", { tenantId, taskId, createdAtMs, attempts }));
      }),
    );
  };
  const count = async (tenantId: string) => {
    const [row] = await client().query<{ messages: number; attempts: number }>(
      `SELECT (SELECT count(*)::int FROM messages WHERE tenant_id = $1) AS messages,
              (SELECT count(*)::int FROM model_attempts WHERE tenant_id = $1) AS attempts`,
      [tenantId],
    );
    return row;
  };

  describe("retention", () => {
    beforeEach(async () => {
      await client().query("DELETE FROM messages", []);
      await client().query("DELETE FROM model_attempts", []);
      await setTenant("short", 7);
      await setTenant("forever", null);
    });
    afterEach(async () => {
      await client().query("DELETE FROM tenants WHERE id = ANY ($1)", [["short", "forever"]]);
    });

    it("deletes what is older than the tenant's days, of that tenant only, to the millisecond", async () => {
      for (const tenantId of ["short", "forever", "unknown"]) {
        await write(tenantId, 3, nowMs - 7 * DAY_MS - 1);
        await write(tenantId, 2, nowMs - 7 * DAY_MS);
      }
      expect(await newJob().job.runOnce()).toEqual({ messages: 3, model_attempts: 3 });
      expect(await count("short")).toEqual({ messages: 2, attempts: 2 });
      expect(await count("forever")).toEqual({ messages: 5, attempts: 5 });
      expect(await count("unknown")).toEqual({ messages: 5, attempts: 5 });
    });

    it("deletes much in batches of 500, with pauses", async () => {
      await write("short", 1_200, nowMs - 8 * DAY_MS);
      const { job, delays } = newJob();
      expect(await job.runOnce()).toEqual({ messages: 1_200, model_attempts: 1_200 });
      expect(delays).toEqual([50, 50, 50, 50]);
    });

    it("is done by two backends at once as well as by one: no row twice, none left", async () => {
      await write("short", 1_200, nowMs - 8 * DAY_MS);
      const [one, other] = await Promise.all([newJob().job.runOnce(), newJob().job.runOnce()]);
      expect((one?.messages ?? 0) + (other?.messages ?? 0)).toBe(1_200);
      await newJob().job.runOnce();
      expect(await count("short")).toEqual({ messages: 0, attempts: 0 });
    });

    it("runs soon after the start, then about every hour, and stops when told", async () => {
      await write("short", 1, nowMs - 8 * DAY_MS);
      const { job, delays, deleted } = newJob();
      job.start();
      await expect.poll(() => delays).toEqual([15_000, 3_900_000]);
      await job.stop();
      expect(deleted).toEqual([{ messages: 1, model_attempts: 1 }]);
    });

    it("reports a database that fails, and tries again an hour later", async () => {
      const failure = new Error("gone");
      const { job, delays, failures } = newJob(() => Promise.reject(failure));
      job.start();
      await expect.poll(() => delays).toEqual([15_000, 3_900_000]);
      await job.stop();
      expect(failures).toEqual([failure]);
    });
  });
}
