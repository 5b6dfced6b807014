import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { SessionClient } from "../../support/session-client.ts";
import { type SessionGateway, startSessionGateway } from "../../support/session-gateway.ts";
import { eventually } from "../../support/session-wait.ts";

let gateway: SessionGateway;

beforeAll(async () => {
  gateway = await startSessionGateway();
}, 60_000);
afterAll(() => gateway?.stop());

async function connected(): Promise<SessionClient> {
  const { ticket } = await gateway.openSession();
  const client = new SessionClient(gateway.url, ticket);
  await client.connect();
  return client;
}

/** Another client of the same session. */
async function anotherTab({ opened }: SessionClient): Promise<SessionClient> {
  const { ticket } = await gateway.openSession({ sessionId: opened?.id });
  return new SessionClient(gateway.url, ticket);
}

let messageCount = 0;
function newId(): string {
  return `m-${++messageCount}`;
}

async function ask(client: SessionClient, text: string, messageId = newId()): Promise<string> {
  client.send({ messageId, receiverId: "assistant", text });
  await eventually(() => client.turn(messageId).end !== undefined);
  return messageId;
}

describe("a turn", () => {
  it("comes as numbered events, from `accepted` to the whole reply", async () => {
    const client = await connected();
    const id = await ask(client, "hello");
    expect(client.faults).toEqual([]);
    const numbers = client.frames.map(({ metadata }) => metadata?.sessionSequence);
    // Two deltas between them, in one frame when they come at the same time.
    expect([numbers[0], ...numbers.slice(-2)]).toEqual([1, 3, 4]);
    expect(client.frames[0]).toMatchObject({ inReplyTo: id, senderId: "assistant", receiverId: "alice" });
    expect(client.turn(id)).toMatchObject({ text: "hello", end: { text: "hello" } });
    await client.close();
  });

  it("has its first delta at once, and puts close ones together after it", async () => {
    const client = await connected();
    const id = await ask(client, "words 60 every 3");
    const deltas = client.frames.filter(({ delta }) => delta !== undefined);
    expect(client.faults).toEqual([]);
    expect(deltas[0]?.delta).toBe("0 ");
    expect(deltas.length).toBeLessThan(30);
    // Of each frame: how long each of its deltas is.
    for (const { delta = "", metadata } of deltas) {
      const lengths = (metadata?.["deltaLengths"] as number[] | undefined) ?? [delta.length];
      expect(lengths).toHaveLength(metadata?.sessionEvents ?? 1);
      expect(lengths.reduce((sum, length) => sum + length)).toBe(delta.length);
    }
    expect(client.turn(id).text).toBe(gateway.tasks.of(id).text);
    await client.close();
  });

  it("is one of several that go on at once, each whole and in order", async () => {
    const client = await connected();
    const ids = Array.from({ length: 8 }, newId);
    for (const messageId of ids)
      client.send({ messageId, receiverId: "assistant", text: "words 30 every 7" });
    await eventually(() => ids.every((id) => client.turn(id).end));
    expect(client.faults).toEqual([]);
    for (const id of ids) expect(client.turn(id).text).toBe(gateway.tasks.of(id).text);
    await client.close();
  });

  it("is canceled by its task or by its message, and says so with its last event", async () => {
    const client = await connected();
    const [byTask, byMessage] = [newId(), newId()];
    for (const messageId of [byTask, byMessage])
      client.send({ messageId, receiverId: "assistant", text: "hold" });
    await eventually(() => client.turn(byTask).sequence > 0 && client.turn(byMessage).sequence > 0);
    client.send({ taskId: gateway.tasks.of(byTask).id, cancel: { reason: "enough" } });
    client.send({ inReplyTo: byMessage, cancel: {} });
    await eventually(() => [byTask, byMessage].every((id) => client.turn(id).end));
    expect(client.turn(byTask).end?.status?.state).toBe("TASK_STATE_CANCELED");
    client.send({ taskId: "no-such-task", cancel: {} });
    await eventually(() => client.unnumbered.length > 0);
    expect(client.unnumbered[0]?.error).toMatchObject({ code: "not_found" });
    await client.close();
  });

  it("is canceled by a cancel right behind its message, which is still being let in", async () => {
    const client = await connected();
    const id = newId();
    client.send({ messageId: id, receiverId: "assistant", text: "hold" });
    client.send({ inReplyTo: id, cancel: {} });
    await eventually(() => client.turn(id).end !== undefined);
    expect(client.turn(id).end?.status?.state).toBe("TASK_STATE_CANCELED");
    expect(client.unnumbered).toEqual([]);
    await client.close();
  });

  it("is run once, however often its message is sent, and another message under its id is refused", async () => {
    const client = await connected();
    const id = await ask(client, "words 5 every 5");
    const { id: taskId } = gateway.tasks.of(id);
    client.send({ messageId: id, receiverId: "assistant", text: "words 5 every 5", metadata: { ack: 2 } });
    client.send({ messageId: id, receiverId: "assistant", text: "something else" });
    await eventually(() => client.unnumbered.length === 2);
    expect(client.unnumbered[0]).toMatchObject({ inReplyTo: id, taskId, accepted: {} });
    expect(client.unnumbered[1]).toMatchObject({
      inReplyTo: id,
      error: { code: "conflict", details: { reason: "message-id-used" } },
    });
    expect(client.frames.filter(({ content }) => content)).toHaveLength(1);
    await client.close();
  });

  it("that fails says why in its last event", async () => {
    const client = await connected();
    const id = newId();
    client.send({ messageId: id, receiverId: "assistant", text: "hold", metadata: { timeoutMs: 300 } });
    await eventually(() => client.turn(id).end !== undefined);
    expect(client.turn(id).end).toMatchObject({ inReplyTo: id, error: { code: "deadline_exceeded" } });
    await client.close();
  });

  it("goes on while nobody is connected", async () => {
    const client = await connected();
    const id = newId();
    client.send({ messageId: id, receiverId: "assistant", text: "words 40 every 5" });
    await eventually(() => client.turn(id).sequence > 3);
    await client.close();
    await eventually(() => gateway.tasks.of(id).ended);
    await client.connect();
    await eventually(() => client.turn(id).end !== undefined);
    expect(client.faults).toEqual([]);
    expect(client.turn(id).text).toBe(gateway.tasks.of(id).text);
    await client.close();
  });
});

describe("a session", () => {
  it("is shared by tabs: each gets every frame from where it came in", async () => {
    const first = await connected();
    await ask(first, "before");
    const second = await anotherTab(first);
    expect(await second.connect()).toMatchObject({ id: first.opened?.id, after: 4, head: 4 });
    const id = await ask(second, "words 20 every 3");
    await eventually(() => first.turn(id).end !== undefined);
    expect([first.faults, second.faults]).toEqual([[], []]);
    expect(first.turn(id).text).toBe(second.turn(id).text);
    await Promise.all([first.close(), second.close()]);
  });

  it("gives exactly the frames past `after`, then the live ones", async () => {
    const client = await connected();
    const id = newId();
    client.send({ messageId: id, receiverId: "assistant", text: "words 50 every 8" });
    for (const cutAfter of [3, 9, 20]) {
      await eventually(() => client.turn(id).sequence >= cutAfter);
      client.socket?.close();
      await client.closed;
      await client.connect();
    }
    await eventually(() => client.turn(id).end !== undefined);
    expect(client.faults).toEqual([]);
    expect(client.turn(id).text).toBe(gateway.tasks.of(id).text);
    await client.close();
  });

  it("drops what every client has acknowledged, and tells one that asks for it which tasks to re-read", async () => {
    const client = await connected();
    const id = await ask(client, "hello");
    client.send({ metadata: { ack: 3 } });
    // Frames are handled in order: once this one is answered, so was the one before it.
    client.send({ cancel: {}, taskId: "none" });
    await eventually(() => client.unnumbered.length > 0);
    await client.close();
    const first = await client.connect("?after=1");
    expect(first).toMatchObject({
      after: 3,
      missed: {
        from: 2,
        to: 3,
        tasks: [{ messageId: id, taskId: gateway.tasks.of(id).id, ended: true }],
      },
    });
    await eventually(() => client.last === 4);
    await client.close();
  });

  it("keeps frames that another tab has not acknowledged", async () => {
    const first = await connected();
    const second = await anotherTab(first);
    await second.connect();
    const id = await ask(first, "hello");
    await eventually(() => second.turn(id).end !== undefined);
    await second.close();
    first.send({ metadata: { ack: 4 } });
    const again = await second.connect("?after=0");
    expect(again).not.toHaveProperty("missed");
    await Promise.all([first.close(), second.close()]);
  });

  it("answers `after` that it never gave with an error, and closes", async () => {
    const client = await connected();
    await client.close();
    await client.connect("?after=9007199254740991").catch(() => {});
    expect(await client.closed).toMatchObject({ code: 4400 });
    expect(client.unnumbered[0]?.error?.details).toMatchObject({ reason: "position-unknown" });
  });

  it("answers `ping` with `pong`", async () => {
    const client = await connected();
    const pong = new Promise((resolve) =>
      client.socket?.addEventListener("message", ({ data }) => resolve(data)),
    );
    client.send("ping");
    expect(await pong).toBe("pong");
    await client.close();
  });

  it("ends with DELETE, for everybody and for good", async () => {
    const client = await connected();
    const { id = "" } = client.opened ?? {};
    const url = `${gateway.url}/api/v1/a2a/sessions/${id}`;
    const headers = { authorization: `Bearer ${gateway.neon.apiKey}` };
    expect((await fetch(url, { method: "DELETE", headers })).status).toBe(204);
    expect(await client.closed).toMatchObject({ code: 4410 });
    await expect(client.connect()).rejects.toThrow("closed before it was open");
    expect((await fetch(url, { method: "DELETE", headers })).status).toBe(404);
  });
});
