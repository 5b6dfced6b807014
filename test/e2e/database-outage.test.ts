/** What callers see while PostgreSQL is away, and that the log has every row once it is back. */
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Gateway, startGateway } from "../support/gateway.ts";
import { isPostgresAvailable, startPostgres, type TestPostgres } from "../support/postgres.ts";
import { ask } from "./ask.ts";

const LIMIT_MS = 60_000;
const CALLERS = 8;
const OUTAGE_MS = 4_000;
const CATCH_UP_MS_MAX = 20_000;

interface Reply {
  taskId: string;
  recorded: boolean;
  durationMs: number;
}

/** Asks the echo agent, over and over, from several callers at once, until told to stop. */
function startLoad(gateway: Gateway) {
  const replies: Reply[] = [];
  const refusals: unknown[] = [];
  let stopped = false;
  const callOn = async () => {
    while (!stopped) {
      const startedAtMs = performance.now();
      const { status, body } = await ask(gateway, { receiverId: "echo", text: "Are you there?" });
      const durationMs = performance.now() - startedAtMs;
      if (status === 200)
        replies.push({ taskId: body.taskId, recorded: body.metadata?.recorded !== false, durationMs });
      else refusals.push(body);
      await sleep(20);
    }
  };
  const done = Promise.all(Array.from({ length: CALLERS }, callOn));
  return {
    replies,
    refusals,
    async stop() {
      stopped = true;
      await done;
    },
  };
}

/** How many of the tasks have exactly their two rows. */
async function countComplete(url: string, replies: readonly Reply[]): Promise<number> {
  const client = new pg.Client(url);
  await client.connect();
  const { rows } = await client.query(
    `SELECT count(*)::int AS count FROM (
       SELECT task_id FROM messages WHERE task_id = ANY ($1)
        GROUP BY task_id HAVING count(*) = 2 AND count(DISTINCT role) = 2) complete`,
    [replies.map(({ taskId }) => taskId)],
  );
  await client.end();
  return rows[0].count;
}

const percentile = (values: number[], fraction: number) =>
  Math.round(values.toSorted((a, b) => a - b)[Math.floor(values.length * fraction)] ?? Number.NaN);

describe.skipIf(!isPostgresAvailable() || process.env["TEST_DATABASE_URL"])("PostgreSQL", () => {
  let server: TestPostgres;
  let url: string;
  let gateway: Gateway;
  beforeAll(async () => {
    server = await startPostgres();
    url = await server.createDatabase();
    gateway = await startGateway({ environment: { DATABASE_URL: url } });
    const limits = {
      requestsPerMinute: 100_000,
      tokensPerMinute: 10_000_000,
      tenantTokensPerMinute: 10_000_000,
    };
    await gateway.database.query("UPDATE tenants SET limits = $1::jsonb", [JSON.stringify(limits)]);
  }, LIMIT_MS);
  afterAll(async () => {
    await gateway?.stop();
    gateway?.remove();
    await server?.stop();
  }, LIMIT_MS);

  it.each(["killed and started again", "stopped and continued"])(
    "%s under load costs no reply and no row",
    { timeout: LIMIT_MS },
    async (kind) => {
      const { outage } = server;
      if (!outage) throw new Error("not our server");
      const load = startLoad(gateway);
      await sleep(1_000);
      const isKill = kind.startsWith("killed");
      if (isKill) await outage.kill();
      else outage.pause();
      const before = load.replies.length;
      await sleep(OUTAGE_MS / 2);
      const settled = load.replies.length;
      const stranger = await ask(
        { ...gateway, key: unknownKey() },
        { receiverId: "echo", text: "Who am I?" },
      );
      await sleep(OUTAGE_MS / 2);
      const during = load.replies.slice(before);
      const afterFirstSeconds = load.replies.slice(settled);
      if (isKill) await outage.restart();
      else outage.resume();
      const backAtMs = performance.now();
      // Under load still, until replies are recorded again.
      await expect
        .poll(() => load.replies.slice(-CALLERS).every(({ recorded }) => recorded), {
          timeout: CATCH_UP_MS_MAX,
        })
        .toBe(true);
      const caughtUpAfterMs = performance.now() - backAtMs;
      await load.stop();
      const complete = await countComplete(url, load.replies);
      const durations = afterFirstSeconds.map(({ durationMs }) => durationMs);
      console.log(
        `PostgreSQL ${kind}: ${load.replies.length} replies, ${load.refusals.length} refusals; during the outage ` +
          `${during.length} replies, ${during.filter(({ recorded }) => !recorded).length} marked as not recorded, ` +
          `p50 ${percentile(durations, 0.5)} ms, p99 ${percentile(durations, 0.99)} ms after the first ` +
          `${OUTAGE_MS / 2} ms; an unknown key: ${stranger.status}; recorded again after ` +
          `${Math.round(caughtUpAfterMs)} ms; tasks with both rows: ${complete} of ${load.replies.length}`,
      );
      expect(load.refusals).toEqual([]);
      expect(afterFirstSeconds.length).toBeGreaterThan(CALLERS);
      expect(afterFirstSeconds.every(({ recorded }) => !recorded)).toBe(true);
      // Nobody waits, a second, for a log that is known to be behind.
      expect(percentile(durations, 0.5)).toBeLessThan(1_000);
      expect(stranger.status).toBe(503);
      expect(complete).toBe(load.replies.length);
    },
  );

  it("has every row of what was sent up to a SIGTERM", { timeout: LIMIT_MS }, async () => {
    const asked = Array.from({ length: 100 }, () =>
      ask(gateway, { receiverId: "echo", text: "Last words." }),
    );
    const settled = Promise.allSettled(asked);
    const first = await Promise.race(asked);
    gateway.process.kill("SIGTERM");
    const ended = await settled;
    await gateway.stop();
    const replies = ended
      .flatMap((one) => (one.status === "fulfilled" && one.value.status === 200 ? [one.value.body] : []))
      .map(({ taskId }): Reply => ({ taskId, recorded: true, durationMs: 0 }));
    const complete = await countComplete(url, replies);
    console.log(`SIGTERM: ${replies.length} of 100 answered, tasks with both rows: ${complete}`);
    expect(first.status).toBe(200);
    expect(complete).toBe(replies.length);
    expect(gateway.logText("backend")).not.toContain("did not take all");
  });
});

/** Of the right form, and nobody's. */
function unknownKey(): string {
  return `parley_${crypto.randomUUID().replaceAll("-", "").slice(0, 12)}_${"a".repeat(43)}`;
}
