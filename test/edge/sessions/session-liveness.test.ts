import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { SESSIONS_PER_CALLER_MAX } from "../../../edge/sessions/session-limits.ts";
import { refusedUpgrade, SessionClient } from "../../support/session-client.ts";
import { type EvictableGateway, startEvictableGateway } from "../../support/session-gateway.ts";
import { eventually } from "../../support/session-wait.ts";

let gateway: EvictableGateway;

beforeAll(async () => {
  // The same relations as the real times have, in seconds.
  gateway = await startEvictableGateway({ timings: { silentMs: 1_500, idleMs: 3_000, recoverAfterMs: 500 } });
}, 60_000);
afterAll(() => gateway?.stop());

async function connected(): Promise<SessionClient> {
  const { ticket } = await gateway.openSession();
  const client = new SessionClient(gateway.url, ticket);
  await client.connect();
  return client;
}

/** Names of the tables that a session has. */
async function tablesOf(client: SessionClient): Promise<unknown[]> {
  const rows = await gateway.query(
    client.opened?.id ?? "",
    "SELECT name FROM sqlite_master WHERE name IN ('session', 'frames', 'turns', 'clients')",
  );
  return rows.map(({ name }) => name);
}

describe("a connection", () => {
  it("that sends nothing is closed, and one that pings is kept, also while the object hibernates", async () => {
    const [silent, pinging] = [await connected(), await connected()];
    const pings = setInterval(() => pinging.send("ping"), 500);
    await gateway.evict(pinging.opened?.id ?? "", "hibernate");
    expect(await silent.closed).toMatchObject({ code: 4409 });
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    expect(pinging.socket?.readyState).toBe(WebSocket.OPEN);
    clearInterval(pings);
    expect(await pinging.closed).toMatchObject({ code: 4409 });
  });
});

describe("a session that nobody comes back to", () => {
  it("deletes its storage, and its tokens open nothing", async () => {
    const client = await connected();
    client.send({ messageId: "expiring", receiverId: "assistant", text: "hello" });
    await eventually(() => client.turn("expiring").end !== undefined);
    expect(await tablesOf(client)).toHaveLength(4);
    await client.close();
    await eventually(async () => (await tablesOf(client)).length === 0);
    const refusal = await refusedUpgrade(`${gateway.url}/ws/v1/a2a/stream`, {
      "sec-websocket-protocol": `parley.v1, ${client.token}`,
    });
    expect(refusal.status).toBe(401);
  });

  it("does so too when it was never connected to", async () => {
    const { ticket, sessionId } = await gateway.openSession();
    const client = new SessionClient(gateway.url, ticket);
    client.opened = { id: sessionId } as never;
    expect(await tablesOf(client)).toHaveLength(4);
    await eventually(async () => (await tablesOf(client)).length === 0);
  });

  it("is left alone as long as a turn goes on", async () => {
    const client = await connected();
    client.send({ messageId: "long", receiverId: "assistant", text: "words 300 every 20" });
    await eventually(() => client.turn("long").sequence > 0);
    await client.close();
    await new Promise((resolve) => setTimeout(resolve, 4_000));
    expect(await tablesOf(client)).toHaveLength(4);
    await eventually(() => gateway.tasks.of("long").ended);
    await eventually(async () => (await tablesOf(client)).length === 0);
  }, 30_000);
});

describe("a key", () => {
  it("has 10,000 sessions at most, and room again when one ends; forgotten ones do not count", async () => {
    const { apiKey, keyId } = await gateway.neon.addKey({ requestsPerMinute: 1_000 }, "default", "many");
    const { sessionId } = await gateway.openSession({}, apiKey);
    const fill = (count: number, connected: number, seenAtMs: number) =>
      gateway.queryCaller(
        keyId,
        `INSERT INTO sessions WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${count})
          SELECT 'filled-${connected}-' || i, ${connected}, ${seenAtMs} FROM n`,
      );
    await fill(SESSIONS_PER_CALLER_MAX - 1, 1, Date.now());
    await expect(gateway.openSession({}, apiKey)).rejects.toThrow(/^429: .*too-many-sessions/);
    const ended = await fetch(`${gateway.url}/api/v1/a2a/sessions/${sessionId}`, {
      method: "DELETE",
      headers: { authorization: `Bearer ${apiKey}` },
    });
    expect(ended.status).toBe(204);
    await fill(1, 0, Date.now() - 26 * 3_600_000);
    expect((await gateway.openSession({}, apiKey)).sessionId).toBeTruthy();
  });
});
