/** An object with nothing to do is put out of memory by workerd itself: nothing here asks for it. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openPathsOf } from "../../bench/process-cost.ts";
import { SessionClient } from "../../support/session-client.ts";
import { type RestartableGateway, startSessionGateway } from "../../support/session-gateway.ts";
import { eventually } from "../../support/session-wait.ts";

/** workerd's own 10 s, and a busy machine. */
const HIBERNATION_MS_MAX = 20_000;

let gateway: RestartableGateway;

beforeAll(async () => {
  gateway = await startSessionGateway();
}, 60_000);
afterAll(() => gateway?.stop());

/** Databases of sessions that workerd has open: those of objects in memory. */
function sessionsInMemory(): number {
  return openPathsOf(gateway.pid).filter((path) => /\/SessionObject\/[0-9a-f]{64}\.sqlite$/.test(path))
    .length;
}

async function ask(client: SessionClient, messageId: string): Promise<void> {
  client.send({ messageId, receiverId: "assistant", text: "hello" });
  await eventually(() => client.turn(messageId).end !== undefined);
}

describe("a session that has nothing to do", () => {
  it("leaves memory within seconds although its client pings, and answers on the same connection", async () => {
    const { ticket } = await gateway.openSession();
    const client = new SessionClient(gateway.url, ticket);
    await client.connect();
    await ask(client, "before");
    expect(sessionsInMemory()).toBe(1);
    const pings = setInterval(() => client.send("ping"), 1_000);
    await eventually(() => sessionsInMemory() === 0, HIBERNATION_MS_MAX);
    clearInterval(pings);
    await ask(client, "after");
    expect(sessionsInMemory()).toBe(1);
    expect(client.faults).toEqual([]);
    await client.close();
  }, 60_000);
});
