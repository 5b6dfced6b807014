import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { request } from "node:http";
import type { Socket } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  BYTES_KEPT_MAX,
  FRAMES_BURST_MAX,
  TURNS_IN_FLIGHT_MAX,
} from "../../../edge/sessions/session-limits.ts";
import { SessionClient } from "../../support/session-client.ts";
import { type SessionGateway, startSessionGateway } from "../../support/session-gateway.ts";
import { eventually } from "../../support/session-wait.ts";
import { withinAMinute } from "../../support/within-a-minute.ts";

let gateway: SessionGateway;

beforeAll(async () => {
  gateway = await startSessionGateway({ timings: { slowReaderMs: 5_000 } });
}, 60_000);
afterAll(() => gateway?.stop());

async function connected(): Promise<SessionClient> {
  const { ticket } = await gateway.openSession();
  const client = new SessionClient(gateway.url, ticket);
  await client.connect();
  return client;
}

/** What a frame is answered with; and then the session must still answer a message. */
async function answerTo(frame: string | object | Uint8Array<ArrayBuffer>) {
  const client = await connected();
  if (frame instanceof Uint8Array) client.socket?.send(frame);
  else client.send(frame);
  await eventually(() => client.unnumbered.length > 0);
  const messageId = `after-${Math.random()}`;
  client.send({ messageId, receiverId: "assistant", text: "hello" });
  await eventually(() => client.turn(messageId).end !== undefined);
  expect(client.faults).toEqual([]);
  await client.close();
  return client.unnumbered[0]?.error;
}

/** A connection whose bytes the test writes itself. */
async function rawConnection(ticket: string): Promise<Socket> {
  const upgrade = request(`${gateway.url}/ws/v1/a2a/stream`, {
    headers: {
      connection: "Upgrade",
      upgrade: "websocket",
      "sec-websocket-version": "13",
      "sec-websocket-key": randomBytes(16).toString("base64"),
      "sec-websocket-protocol": `parley.v1, ${ticket}`,
    },
  });
  upgrade.end();
  const [, socket] = (await once(upgrade, "upgrade")) as [unknown, Socket];
  return socket;
}

/** A frame as clients send it: masked (RFC 6455, section 5.2), of at most 125 bytes. */
function maskedFrame(opcode: number, payload: Uint8Array): Buffer {
  const mask = randomBytes(4);
  const masked = payload.map((byte, index) => byte ^ (mask[index % 4] ?? 0));
  return Buffer.concat([Buffer.from([0x80 | opcode, 0x80 | payload.length]), mask, masked]);
}

describe("a frame that is wrong", () => {
  it.each([
    ["empty", "", /it is empty/],
    ["no JSON", "{", /not JSON/],
    ["a list", "[]", /must be a JSON object/],
    ["a number", "17", /must be a JSON object/],
    ["too deep", `{"metadata":${'{"a":'.repeat(40)}1${"}".repeat(41)}`, /nested deeper than 32/],
    ["of the wrong shape", { messageId: 17 }, /wrong shape/],
    ["without a receiver", { messageId: "m", text: "hi" }, /names no receiver/],
    ["without content", { receiverId: "assistant" }, /needs `text`/],
    ["with a server's body", { receiverId: "assistant", accepted: {} }, /it has `accepted`/],
    ["with a delta", { receiverId: "assistant", delta: "x" }, /it has `delta`/],
    ["empty of everything", {}, /says nothing/],
    ["with a body that nobody knows", { receiverId: "assistant", teleport: {} }, /needs `text`/],
    [
      "for somebody else",
      { receiverId: "assistant", senderId: "bob", text: "hi" },
      /speaks for "alice" only/,
    ],
    ["an ack of what was not sent", { metadata: { ack: 5 } }, /only 0 has been sent/],
    ["a negative ack", { metadata: { ack: -1 } }, /must be a whole number/],
    ["an enormous ack", { metadata: { ack: 1e300 } }, /must be a whole number/],
    ["an ack that is text", { metadata: { ack: "1" } }, /must be a whole number/],
    [
      "with a timeout of nothing",
      { receiverId: "assistant", text: "hi", metadata: { timeoutMs: 0 } },
      /at least 1/,
    ],
  ])("(%s) is answered with what is wrong, and the connection stays", async (_, frame, message) => {
    const error = await answerTo(frame);
    expect(error?.message).toMatch(message);
    expect(["invalid_argument", "permission_denied"]).toContain(error?.code);
    expect(error?.requestId).toBeTruthy();
  });

  it("is named by the message that it was, where that can be told", async () => {
    const client = await connected();
    client.send({ messageId: "lost", receiverId: "nobody-there", text: "hi" });
    await eventually(() => client.unnumbered.length > 0);
    expect(client.unnumbered[0]).toMatchObject({ inReplyTo: "lost", error: { code: "not_found" } });
    await client.close();
  });

  it("(binary) is refused with a reason", async () => {
    expect((await answerTo(new Uint8Array([1, 2, 3])))?.details).toMatchObject({ reason: "binary-frame" });
  });

  it("(over the limit) is refused, and one at the limit is not too large", async () => {
    const { limits } = await gateway.openSession();
    const atLimit = JSON.stringify({ text: "" });
    const filled = (bytes: number) => JSON.stringify({ text: "x".repeat(bytes - atLimit.length) });
    expect((await answerTo(filled(limits.frameBytesMax)))?.message).toMatch(/names no receiver/);
    expect((await answerTo(filled(limits.frameBytesMax + 1)))?.details).toMatchObject({
      reason: "frame-too-large",
    });
    // Characters of three bytes each.
    expect(
      (await answerTo(JSON.stringify({ text: "あ".repeat(limits.frameBytesMax / 3) })))?.details,
    ).toMatchObject({
      reason: "frame-too-large",
    });
  });

  it("(no UTF-8) is refused; U+FFFD may be written as an escape", async () => {
    const socket = await rawConnection((await gateway.openSession()).ticket);
    let received = "";
    socket.on("data", (bytes) => {
      received += bytes.toString("utf8");
    });
    socket.write(
      maskedFrame(
        1,
        Buffer.concat([Buffer.from('{"text":"'), Buffer.from([0xc3, 0x28, 0xff]), Buffer.from('"}')]),
      ),
    );
    await eventually(() => received.includes("not-utf-8"));
    received = "";
    socket.write(maskedFrame(1, Buffer.from('{"text":"\\ufffd"}')));
    await eventually(() => received.includes("names no receiver"));
    socket.destroy();
  });
});

describe("a client that overdoes it", () => {
  it("is told so once a second, and cut when it goes on", async () => {
    const client = await connected();
    for (let count = 0; count < FRAMES_BURST_MAX + 50; count++) client.send({ metadata: { ack: 0 } });
    await eventually(() => client.unnumbered.length > 0);
    expect(client.unnumbered[0]?.error).toMatchObject({
      code: "resource_exhausted",
      details: { reason: "frame-rate" },
    });
    for (let count = 0; count < 2_000; count++) client.send({ metadata: { ack: 0 } });
    expect(await client.closed).toMatchObject({ code: 4429 });
    expect(client.unnumbered.length).toBeLessThan(8);
  });

  it("may send thousands of pings: they never reach the object", async () => {
    const client = await connected();
    let pongs = 0;
    client.socket?.addEventListener("message", ({ data }) => {
      if (data === "pong") pongs += 1;
    });
    for (let count = 0; count < 5_000; count++) client.send("ping");
    await eventually(() => pongs === 5_000);
    client.send({ messageId: "after-pings", receiverId: "assistant", text: "hello" });
    await eventually(() => client.turn("after-pings").end !== undefined);
    await client.close();
  });

  it("has as many turns as it may at once, and the next when one of them has ended", async () => {
    const client = await connected();
    const ids = Array.from({ length: TURNS_IN_FLIGHT_MAX }, (_, index) => `flight-${index}`);
    for (const messageId of ids) client.send({ messageId, receiverId: "assistant", text: "hold" });
    client.send({ messageId: "one-more", receiverId: "assistant", text: "hello" });
    await eventually(() => client.unnumbered.length > 0);
    expect(client.unnumbered[0]).toMatchObject({
      inReplyTo: "one-more",
      error: { code: "resource_exhausted", details: { reason: "too-many-turns" } },
    });
    await eventually(() => ids.every((id) => client.turn(id).sequence > 0));
    gateway.tasks.of("flight-0").finish();
    await eventually(() => client.turn("flight-0").end !== undefined);
    client.send({ messageId: "one-more", receiverId: "assistant", text: "hello" });
    await eventually(() => client.turn("one-more").end !== undefined);
    for (const id of ids) gateway.tasks.of(id).finish();
    await client.close();
  });

  it.each([
    { limits: { requestsPerMinute: 2 }, reason: "request-limit", limit: 2 },
    { limits: { tokensPerMinute: 300 }, reason: "token-limit", limit: 300 },
    { limits: { tenantTokensPerMinute: 300 }, reason: "tenant-token-limit", limit: 300 },
  ])("is told in a frame of a $reason, and when to come back", async ({ limits, reason, limit }) => {
    await withinAMinute(2_000);
    // Opening the session is a request, too.
    const { apiKey } = await gateway.neon.addKey(limits, "default", reason);
    const { ticket } = await gateway.openSession({}, apiKey);
    const client = new SessionClient(gateway.url, ticket);
    await client.connect();
    client.send({ messageId: `in-${reason}`, receiverId: "assistant", text: "hold" });
    await eventually(() => client.turn(`in-${reason}`).sequence > 0);
    client.send({ messageId: `over-${reason}`, receiverId: "assistant", text: "hello" });
    await eventually(() => client.unnumbered.length > 0);
    expect(client.unnumbered[0]).toMatchObject({
      inReplyTo: `over-${reason}`,
      error: { code: "resource_exhausted", details: { reason, limit, windowSeconds: 60 } },
    });
    expect(client.unnumbered[0]?.error?.retryAfterSeconds).toBeGreaterThan(0);
    gateway.tasks.of(`in-${reason}`).finish();
    await eventually(() => client.turn(`in-${reason}`).end !== undefined);
    await client.close();
  });

  it("that never reads is cut, and has the end of the reply and what it missed when it comes back", async () => {
    const { ticket, resumeToken, sessionId } = await gateway.openSession();
    const reader = new SessionClient(gateway.url, (await gateway.openSession({ sessionId })).ticket);
    reader.acknowledges = true;
    await reader.connect();
    const deaf = await rawConnection(ticket);
    deaf.pause();
    reader.send({ messageId: "flood", receiverId: "assistant", text: "hold" });
    await eventually(() => reader.turn("flood").sequence > 0);
    const flood = gateway.tasks.of("flood");
    // More than the kernel takes for both ends: what is left waits in the gateway.
    for (let count = 0; count < 200; count++) {
      flood.delta("x".repeat(100_000));
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    await eventually(() => reader.turn("flood").text.length === 20_000_000, 30_000);
    await eventually(() => gateway.logs().some((line) => line.includes("too-slow")), 20_000);
    // So that the last event is short.
    flood.restart();
    flood.delta("the end");
    flood.finish();
    let received = "";
    deaf.on("data", (bytes) => {
      received = (received + bytes.toString("latin1")).slice(-1_000);
    });
    deaf.resume();
    await eventually(() => received.includes("frames are not being read"), 20_000);
    deaf.destroy();
    const again = new SessionClient(gateway.url, resumeToken);
    const first = await again.connect("?after=0");
    expect(first.missed).toMatchObject({ from: 1, tasks: [{ messageId: "flood" }] });
    await eventually(() => again.turn("flood").end !== undefined, 30_000);
    expect(again.turn("flood").text).toBe("the end");
    await Promise.all([reader.close(), again.close()]);
  }, 120_000);

  it("away during an event larger than all that is kept has `missed`, and can re-read the end", async () => {
    const client = await connected();
    client.send({ messageId: "huge", receiverId: "assistant", text: "hold" });
    await eventually(() => client.turn("huge").sequence > 0);
    await client.close();
    const task = gateway.tasks.of("huge");
    task.delta("あ".repeat(BYTES_KEPT_MAX / 3 + 1));
    task.finish();
    await eventually(() => gateway.logs().some((line) => line.includes(task.id)), 30_000);
    const first = await client.connect();
    expect(first.missed).toMatchObject({ from: 2, to: 3, tasks: [{ taskId: task.id, ended: true }] });
    const answer = await fetch(`${gateway.url}/api/v1/a2a/tasks/${task.id}/events`, {
      headers: { authorization: `Bearer ${gateway.neon.apiKey}`, "last-event-id": "2" },
    });
    expect(await answer.text()).toContain("event: content");
    client.send({ messageId: "after-huge", receiverId: "assistant", text: "hello" });
    await eventually(() => client.turn("after-huge").end !== undefined);
    expect(client.faults).toEqual([]);
    await client.close();
  }, 60_000);
});
