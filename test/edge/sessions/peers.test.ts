import { create } from "@bufbuild/protobuf";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { AgentTurn } from "../../../backend/agents/agent-runner.ts";
import { createPeerAgent } from "../../../backend/agents/peer-agent.ts";
import { importBackendTokenSecret, signBackendToken } from "../../../core/auth/backend-token.ts";
import { textContent } from "../../../core/messages/envelope.ts";
import { Deadline } from "../../../core/resilience/deadline.ts";
import { HOPS_MAX, UNACKNOWLEDGED_MAX } from "../../../edge/peers/mailbox-limits.ts";
import { BYTES_KEPT_MAX } from "../../../edge/sessions/session-limits.ts";
import { A2AMessageSchema } from "../../../proto/gen/parley/v1/agent_service_pb.js";
import { SessionClient } from "../../support/session-client.ts";
import { type EvictableGateway, startEvictableGateway } from "../../support/session-gateway.ts";
import { eventually } from "../../support/session-wait.ts";
import { TEST_ENV } from "../support/edge-harness.ts";

/** Nobody meets them. */
const LIMITS = { requestsPerMinute: 100_000, tokensPerMinute: 1e9, tenantTokensPerMinute: 1e9 };

let gateway: EvictableGateway;
const keys: Record<string, string> = {};

beforeAll(async () => {
  gateway = await startEvictableGateway();
  gateway.neon.addAgent("brief", { kind: "peer", messageTtlSeconds: 2 });
  gateway.neon.addAgent("assistant-2", { kind: "echo" });
  for (const peer of ["bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy"]) {
    gateway.neon.addAgent(peer, { kind: "peer" });
    keys[peer] = (await gateway.neon.addKey(LIMITS, "default", peer)).apiKey;
  }
  keys["alice"] = (await gateway.neon.addKey(LIMITS, "default", "alice")).apiKey;
  keys["brief"] = (await gateway.neon.addKey(LIMITS, "default", "brief")).apiKey;
}, 60_000);
afterAll(() => gateway?.stop());

async function connectAs(name: string): Promise<SessionClient> {
  const { ticket } = await gateway.openSession({}, keys[name]);
  const client = new SessionClient(gateway.url, ticket);
  await client.connect();
  return client;
}

function post(from: string, message: object, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(`${gateway.url}/api/v1/a2a/message`, {
    method: "POST",
    headers: {
      authorization: `Bearer ${keys[from]}`,
      "content-type": "application/json",
      ...headers,
    },
    body: JSON.stringify(message),
  });
}

function getTask(as: string, taskId: string): Promise<Response> {
  return fetch(`${gateway.url}/api/v1/a2a/tasks/${taskId}`, {
    headers: { authorization: `Bearer ${keys[as]}` },
  });
}

/** Messages that a client was sent as a peer, and has not sent itself. */
function received(client: SessionClient, self: string) {
  return client.frames.filter(
    ({ content, senderId, inReplyTo }) => content && senderId !== self && !inReplyTo,
  );
}

/** Answers whatever comes, as an agent does. */
function answerEverything(client: SessionClient, self: string): void {
  const answered = new Set<string>();
  client.socket?.addEventListener("message", () => {
    for (const { messageId = "", senderId, text } of received(client, self)) {
      if (answered.has(messageId)) continue;
      answered.add(messageId);
      client.send({
        messageId: `re-${messageId}`,
        receiverId: senderId,
        inReplyTo: messageId,
        text: `you said ${text}`,
      });
    }
    client.send({ metadata: { ack: client.last } });
  });
}

describe("a message to a peer", () => {
  it("over a session is accepted, delivered and answered, with a frame each", async () => {
    const bob = await connectAs("bob");
    answerEverything(bob, "bob");
    const alice = await connectAs("alice");
    alice.send({ messageId: "to-bob", receiverId: "bob", text: "hi" });
    await eventually(() => alice.turn("to-bob").end !== undefined);
    expect(alice.faults).toEqual([]);
    const deliveries = alice.frames.map(({ metadata }) => metadata?.["delivery"]);
    expect(deliveries[0]).toBe("accepted");
    expect(deliveries.at(-1)).toBe("answered");
    expect(alice.turn("to-bob").end).toMatchObject({ senderId: "bob", text: "you said hi" });
    await Promise.all([alice.close(), bob.close()]);
  });

  it("over HTTP waits for the reply, and over server-sent events shows what becomes of it", async () => {
    const bob = await connectAs("bob");
    answerEverything(bob, "bob");
    const answer = await post("alice", { receiverId: "bob", text: "over HTTP" });
    expect(await answer.json()).toMatchObject({ senderId: "bob", text: "you said over HTTP" });
    const events = await post(
      "alice",
      { receiverId: "bob", text: "events" },
      { accept: "text/event-stream" },
    );
    expect(await events.text()).toMatch(/event: accepted[\s\S]*event: content/);
    await bob.close();
  });

  it("waits while the peer is away, and the caller learns where to look for the reply", async () => {
    const late = await post(
      "alice",
      { messageId: "early", receiverId: "carol", text: "are you there?" },
      { "parley-timeout-ms": "300" },
    );
    expect(late.status).toBe(504);
    const { error } = (await late.json()) as { error: { details: { taskId: string } } };
    const { taskId } = error.details;
    expect(await (await getTask("alice", taskId)).json()).toMatchObject({
      id: taskId,
      status: { state: "TASK_STATE_WORKING" },
    });
    const carol = await connectAs("carol");
    answerEverything(carol, "carol");
    carol.send({ metadata: { ack: 0 } });
    await eventually(async () => {
      const task = (await (await getTask("alice", taskId)).json()) as { status: { state: string } };
      return task.status.state === "TASK_STATE_COMPLETED";
    });
    // Another caller's task is none.
    expect((await getTask("bob", taskId)).status).toBe(404);
    await carol.close();
  });

  it("is given as a task at once to a caller that does not wait", async () => {
    const answer = await post("alice", { receiverId: "carol", text: "later" }, { prefer: "respond-async" });
    expect(answer.status).toBe(202);
    const { id } = (await answer.json()) as { id: string };
    const canceled = await fetch(`${gateway.url}/api/v1/a2a/tasks/${id}/cancel`, {
      method: "POST",
      headers: { authorization: `Bearer ${keys["alice"]}` },
    });
    expect(await canceled.json()).toMatchObject({ status: { state: "TASK_STATE_CANCELED" } });
    const carol = await connectAs("carol");
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(received(carol, "carol").map(({ text }) => text)).not.toContain("later");
    await carol.close();
  });

  it("is kept once, however often it is sent, and another one under its id is refused", async () => {
    const send = (text: string) =>
      post("alice", { messageId: "twice", receiverId: "dave", text }, { prefer: "respond-async" });
    const [first, second] = [await send("hello"), await send("hello")];
    expect(((await first.json()) as { id: string }).id).toBe(((await second.json()) as { id: string }).id);
    expect((await send("something else")).status).toBe(409);
    const dave = await connectAs("dave");
    await eventually(() => received(dave, "dave").length > 0);
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(received(dave, "dave")).toHaveLength(1);
    dave.send({ metadata: { ack: dave.last } });
    await dave.close();
  });

  it("that nobody comes for in time has expired, and its sender is told", async () => {
    const alice = await connectAs("alice");
    alice.send({ messageId: "too-late", receiverId: "brief", text: "hello?" });
    await eventually(() => alice.turn("too-late").end !== undefined, 15_000);
    expect(alice.turn("too-late").end).toMatchObject({
      error: { code: "deadline_exceeded", details: { reason: "expired" } },
      metadata: { delivery: "expired" },
    });
    const brief = await connectAs("brief");
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(received(brief, "brief")).toEqual([]);
    await Promise.all([alice.close(), brief.close()]);
  }, 30_000);
});

describe("the backend", () => {
  const turn = ({ receiverId = "bob" } = {}): AgentTurn => {
    const message = create(A2AMessageSchema, {
      messageId: `grpc-${Math.random()}`,
      senderId: "alice",
      receiverId,
      body: { case: "content", value: textContent("over gRPC") },
    });
    return {
      agent: { tenantId: "default", id: message.receiverId } as AgentTurn["agent"],
      content: textContent("over gRPC"),
      sent: { message, subject: "alice" },
      history: [],
      instructions: "",
      parameters: {},
      deadline: Deadline.after(5_000, Date.now),
      requestId: "grpc-request",
      onAttempt: () => {},
    };
  };
  const agentWith = (tokenSecret: string) =>
    createPeerAgent({ edgeUrl: gateway.url, tokenSecret, fetch: globalThis.fetch, now: Date.now });
  const answerOf = async (tokenSecret: string, fields: { receiverId?: string } = {}) => {
    const { signal } = new AbortController();
    for await (const event of agentWith(tokenSecret).answer(turn(fields), signal)) return event;
    return undefined;
  };

  it("hands a gRPC caller's message to a peer, and gets its reply", async () => {
    const bob = await connectAs("bob");
    answerEverything(bob, "bob");
    expect(await answerOf(TEST_ENV.BACKEND_TOKEN_SECRET)).toMatchObject({
      type: "finish",
      parts: [{ content: { case: "text", value: "you said over gRPC" } }],
      record: { model: "peer" },
    });
    await bob.close();
  });

  it("must know the edge's secret, and can reach nobody but peers this way", async () => {
    await expect(answerOf("another-secret-that-is-also-long-enough")).rejects.toMatchObject({
      code: "unavailable",
    });
    await expect(answerOf(TEST_ENV.BACKEND_TOKEN_SECRET, { receiverId: "assistant" })).rejects.toMatchObject({
      code: "invalid_argument",
    });
    const key = await importBackendTokenSecret(TEST_ENV.BACKEND_TOKEN_SECRET);
    const principal = { tenantId: "default", subject: "alice", scopes: [], keyId: "" };
    const token = await signBackendToken(key, { principal, requestId: "r" }, Date.now());
    const replayed = await fetch(`${gateway.url}/internal/v1/peer-messages`, {
      method: "POST",
      headers: { "content-type": "application/json", "parley-backend-token": token },
      body: "{}",
    });
    expect(replayed.status).toBe(401);
  });
});

describe("a peer", () => {
  it("that is away half of the time gets every message once, and in order", async () => {
    const erin = await connectAs("erin");
    erin.acknowledges = true;
    const alice = await connectAs("alice");
    const sent = Array.from({ length: 60 }, (_, index) => `n-${index}`);
    const sending = (async () => {
      for (const messageId of sent) {
        alice.send({ messageId, receiverId: "erin", text: messageId });
        await eventually(() => alice.turn(messageId).sequence > 0);
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    })();
    for (let round = 0; round < 6; round++) {
      await new Promise((resolve) => setTimeout(resolve, 120));
      await erin.close();
      await new Promise((resolve) => setTimeout(resolve, 120));
      await erin.connect();
    }
    await sending;
    await eventually(() => received(erin, "erin").length >= sent.length);
    expect(erin.faults).toEqual([]);
    expect(received(erin, "erin").map(({ text }) => text)).toEqual(sent);
    erin.send({ metadata: { ack: erin.last } });
    await eventually(() =>
      sent.every((id) =>
        alice.frames.some((frame) => frame.inReplyTo === id && frame.metadata?.["delivery"] === "delivered"),
      ),
    );
    await Promise.all([alice.close(), erin.close()]);
  }, 40_000);

  it("gets what it has not acknowledged again in its next session", async () => {
    await post(
      "alice",
      { messageId: "again", receiverId: "frank", text: "again" },
      { prefer: "respond-async" },
    );
    const first = await connectAs("frank");
    await eventually(() => received(first, "frank").length === 1);
    await first.close();
    const second = await connectAs("frank");
    await eventually(() => received(second, "frank").length === 1);
    second.send({ metadata: { ack: second.last } });
    await second.close();
    const third = await connectAs("frank");
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(received(third, "frank")).toEqual([]);
    await third.close();
  });

  it("that never acknowledges is handed so many messages, and the next ones as it does", async () => {
    const judy = await connectAs("judy");
    const sent = Array.from({ length: UNACKNOWLEDGED_MAX + 8 }, (_, index) => `j-${index}`);
    for (const messageId of sent) {
      await post("alice", { messageId, receiverId: "judy", text: messageId }, { prefer: "respond-async" });
    }
    await eventually(() => received(judy, "judy").length >= UNACKNOWLEDGED_MAX);
    expect(received(judy, "judy")).toHaveLength(UNACKNOWLEDGED_MAX);
    judy.send({ metadata: { ack: 8 } });
    await eventually(() => received(judy, "judy").length === sent.length);
    expect(received(judy, "judy").map(({ text }) => text)).toEqual(sent);
    await judy.close();
  });

  it("gets again what its session dropped before it was acknowledged, and no more than that", async () => {
    const ivan = await connectAs("ivan");
    ivan.send({ messageId: "flood", receiverId: "assistant", text: "hold" });
    await eventually(() => ivan.turn("flood").sequence > 0);
    const { id: taskId } = (await (
      await post("alice", { receiverId: "ivan", text: "important" }, { prefer: "respond-async" })
    ).json()) as { id: string };
    await eventually(() => received(ivan, "ivan").length === 1);
    const flood = gateway.tasks.of("flood");
    for (let count = 0; count < 9; count++) {
      flood.delta("x".repeat(BYTES_KEPT_MAX / 8));
      await eventually(() => ivan.turn("flood").text.length === flood.text.length);
    }
    flood.cancel();
    await eventually(() => ivan.turn("flood").end !== undefined);
    // Of all that, as one does who came back too late for the first of it.
    ivan.send({ metadata: { ack: ivan.last } });
    await eventually(() => received(ivan, "ivan").length === 2);
    expect(new Set(received(ivan, "ivan").map(({ messageId }) => messageId)).size).toBe(1);
    ivan.send({ metadata: { ack: ivan.last } });
    const delivery = async () =>
      ((await (await getTask("alice", taskId)).json()) as { metadata: { delivery: string } }).metadata
        .delivery;
    await eventually(async () => (await delivery()) === "delivered");
    expect(received(ivan, "ivan")).toHaveLength(2);
    expect(ivan.faults).toEqual([]);
    await ivan.close();
  });

  it("talks to another one, each in its own session, across crashes of both", async () => {
    const [bob, carol] = [await connectAs("bob"), await connectAs("carol")];
    carol.acknowledges = true;
    bob.acknowledges = true;
    for (let turn = 0; turn < 6; turn++) {
      const question = `q-${turn}`;
      bob.send({ messageId: question, receiverId: "carol", contextId: "talk", text: question });
      await eventually(() => carol.frames.some(({ messageId }) => messageId === question));
      if (turn % 2 === 1) {
        const { id = "" } = (turn % 4 === 1 ? bob : carol).opened ?? {};
        await gateway.crash(id);
        const client = turn % 4 === 1 ? bob : carol;
        await client.closed;
        await client.connect();
      }
      carol.send({ messageId: `a-${turn}`, receiverId: "bob", inReplyTo: question, text: `re ${question}` });
      await eventually(() => bob.turn(question).end !== undefined);
      expect(bob.turn(question).end?.text).toBe(`re ${question}`);
    }
    expect([bob.faults, carol.faults]).toEqual([[], []]);
    await Promise.all([bob.close(), carol.close()]);
  }, 40_000);

  it("replies over HTTP too, and its reply reaches the session that asked", async () => {
    const alice = await connectAs("alice");
    alice.send({ messageId: "ask-grace", receiverId: "grace", text: "over HTTP?" });
    await eventually(() => alice.turn("ask-grace").sequence > 0);
    const replied = await post("grace", { receiverId: "alice", inReplyTo: "ask-grace", text: "yes" });
    expect(await replied.json()).toMatchObject({ status: { state: "TASK_STATE_COMPLETED" } });
    await eventually(() => alice.turn("ask-grace").end !== undefined);
    expect(alice.turn("ask-grace").end?.text).toBe("yes");
    const again = await post("grace", { receiverId: "alice", inReplyTo: "ask-grace", text: "no" });
    expect(again.status).toBe(409);
    await alice.close();
  });

  it("cannot reply to what it was not asked", async () => {
    const replied = await post("grace", { receiverId: "alice", inReplyTo: "never-asked", text: "yes" });
    expect(replied.status).toBe(404);
  });

  it("and another one that answer each other without end are cut, with an error that says so", async () => {
    const send = (hops: number) =>
      post("bob", { receiverId: "dave", text: "again", metadata: { hops } }, { prefer: "respond-async" });
    expect((await send(HOPS_MAX)).status).toBe(202);
    const cut = await send(HOPS_MAX + 1);
    expect(cut.status).toBe(400);
    expect(await cut.json()).toMatchObject({ error: { code: "failed_precondition", reason: "loop" } });
    // Counted by the gateway, too: each message answers the answer before it.
    let refused: Response | undefined;
    for (let round = 0; !refused && round < HOPS_MAX; round++) {
      const question = {
        messageId: `loop-${round}`,
        receiverId: "grace",
        inReplyTo: round === 0 ? "" : `loop-answer-${round - 1}`,
        text: "?",
      };
      const answer = {
        messageId: `loop-answer-${round}`,
        receiverId: "bob",
        inReplyTo: question.messageId,
        text: "!",
      };
      const asked = await post("bob", question, { prefer: "respond-async" });
      const answered = asked.ok ? await post("grace", answer) : asked;
      if (!answered.ok) refused = answered;
    }
    expect(await refused?.json()).toMatchObject({ error: { code: "failed_precondition", reason: "loop" } });
  }, 40_000);
});
