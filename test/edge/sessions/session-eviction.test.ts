import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { SessionClient } from "../../support/session-client.ts";
import { type EvictableGateway, startEvictableGateway } from "../../support/session-gateway.ts";
import { eventually } from "../../support/session-wait.ts";

/** Each crashes one to three times, at random moments. */
const SCENES = 8;

let gateway: EvictableGateway;

beforeAll(async () => {
  gateway = await startEvictableGateway({ timings: { recoverAfterMs: 500 } });
}, 60_000);
afterAll(() => gateway?.stop());

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

async function connected(): Promise<SessionClient> {
  const { ticket } = await gateway.openSession();
  const client = new SessionClient(gateway.url, ticket);
  await client.connect();
  return client;
}

/** Ends the object, and waits until its clients are back. */
async function crash(...clients: SessionClient[]): Promise<void> {
  await gateway.crash(clients[0]?.opened?.id ?? "");
  await Promise.all(
    clients.map(async (client) => {
      await client.closed;
      await client.connect();
    }),
  );
}

describe("an object that ends in mid-answer, with frames that were sent and not saved", () => {
  it("goes on without a gap or a repeat, wherever it was", async () => {
    for (let scene = 0; scene < SCENES; scene++) {
      const client = await connected();
      const id = `one-${scene}`;
      client.send({ messageId: id, receiverId: "assistant", text: "words 60 every 10" });
      await eventually(() => client.turn(id).sequence > 0);
      for (let count = 0; count <= scene % 3; count++) {
        await pause(Math.random() * 250);
        await crash(client);
      }
      await eventually(() => client.turn(id).end !== undefined);
      expect(client.faults).toEqual([]);
      expect(client.turn(id).text).toBe(gateway.tasks.of(id).text);
      await client.close();
    }
  }, 60_000);

  it("does so with several turns at once", async () => {
    for (let scene = 0; scene < SCENES; scene++) {
      const client = await connected();
      const ids = Array.from({ length: 4 }, (_, turn) => `several-${scene}-${turn}`);
      for (const messageId of ids) {
        client.send({ messageId, receiverId: "assistant", text: "words 50 every 11" });
      }
      await eventually(() => ids.every((id) => client.turn(id).sequence > 0));
      for (let count = 0; count <= scene % 3; count++) {
        await pause(Math.random() * 200);
        await crash(client);
      }
      await eventually(() => ids.every((id) => client.turn(id).end), 20_000);
      expect(client.faults).toEqual([]);
      for (const id of ids) expect(client.turn(id).text).toBe(gateway.tasks.of(id).text);
      await client.close();
    }
  }, 120_000);

  it("does so for every tab", async () => {
    const first = await connected();
    const { ticket } = await gateway.openSession({ sessionId: first.opened?.id });
    const second = new SessionClient(gateway.url, ticket);
    await second.connect();
    first.send({ messageId: "tabs", receiverId: "assistant", text: "words 100 every 8" });
    await eventually(() => second.turn("tabs").sequence > 10);
    await crash(first, second);
    await eventually(() => [first, second].every((tab) => tab.turn("tabs").end));
    expect([first.faults, second.faults]).toEqual([[], []]);
    expect(first.turn("tabs").text).toBe(second.turn("tabs").text);
    await Promise.all([first.close(), second.close()]);
  });

  it("is brought back by its alarm when nobody comes back", async () => {
    const client = await connected();
    client.send({ messageId: "alarm", receiverId: "assistant", text: "words 100 every 20" });
    await eventually(() => client.turn("alarm").sequence > 5);
    await gateway.crash(client.opened?.id ?? "");
    await client.closed;
    const { length: before } = gateway.backend.calls;
    await eventually(() => gateway.backend.calls.length > before);
    expect(gateway.backend.calls.at(-1)).toMatchObject({ method: "resumeReply" });
    await eventually(() => gateway.tasks.of("alarm").ended);
    await client.connect();
    await eventually(() => client.turn("alarm").end !== undefined);
    expect(client.faults).toEqual([]);
    expect(client.turn("alarm").text).toBe(gateway.tasks.of("alarm").text);
    await client.close();
  });

  it("begins the turn again, and says so, when the backend was replaced meanwhile and knows nothing of it", async () => {
    const client = await connected();
    client.send({ messageId: "replaced", receiverId: "assistant", text: "words 60 every 10" });
    await eventually(() => client.turn("replaced").text.length > 20);
    gateway.tasks.lose();
    await crash(client);
    await eventually(() => client.turn("replaced").end !== undefined);
    expect(client.frames.find(({ restart }) => restart)).toMatchObject({
      restart: { reason: "task-lost" },
      inReplyTo: "replaced",
    });
    expect(client.turn("replaced").text).toBe(gateway.tasks.of("replaced").text);
    await client.close();
  });

  it("takes messages while it catches up, and answers them after", async () => {
    const client = await connected();
    client.send({ messageId: "slow", receiverId: "assistant", text: "words 20 every 60" });
    await eventually(() => client.turn("slow").text.length > 6);
    await crash(client);
    client.send({ messageId: "next", receiverId: "assistant", text: "hello" });
    await eventually(() => client.turn("next").end !== undefined && client.turn("slow").end !== undefined);
    expect(client.faults).toEqual([]);
    expect(client.turn("next").text).toBe("hello");
    await client.close();
  });
});

describe("an object that has nothing to do", () => {
  it("is let go of within 10 s of its last turn, and answers the next message on the same connection", async () => {
    const client = await connected();
    client.send({ messageId: "before", receiverId: "assistant", text: "hello" });
    await eventually(() => client.turn("before").end !== undefined);
    const endedAtMs = Date.now();
    // Waits until nothing holds the object: no timer, no call, no promise.
    await gateway.evict(client.opened?.id ?? "", "hibernate");
    expect(Date.now() - endedAtMs).toBeLessThan(10_000);
    client.send({ messageId: "after", receiverId: "assistant", text: "hello" });
    await eventually(() => client.turn("after").end !== undefined);
    expect(client.faults).toEqual([]);
    await client.close();
  });
});
