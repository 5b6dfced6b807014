/** The backend's port, by real clients of every protocol it serves. */
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { signBackendToken } from "../../../core/auth/backend-token.ts";
import { fromConnectError } from "../../../core/errors/connect-errors.ts";
import { DELTA_INTERVAL_HEADER } from "../../../core/messages/joined-deltas.ts";
import { PartSchema, Role, TaskState } from "../../../proto/gen/lf/a2a/v1/a2a_pb.js";
import { type A2AMessage, A2AMessageSchema } from "../../../proto/gen/parley/v1/agent_service_pb.js";
import { ann } from "../tasks/engine-fixture.ts";
import { startBackend } from "./backend-fixture.ts";

let backend: Awaited<ReturnType<typeof startBackend>>;
beforeAll(async () => {
  backend = await startBackend();
});
afterAll(() => backend.stop());

const TURN = { role: Role.USER, text: "hi" };
const hello = { receiverId: "scripted", text: "hello there" };
const rejection = async (promise: Promise<unknown>) =>
  ConnectError.from(
    await promise.then(
      () => "no error",
      (e) => e,
    ),
  );

async function collect(messages: AsyncIterable<A2AMessage>): Promise<A2AMessage[]> {
  const collected: A2AMessage[] = [];
  for await (const message of messages) collected.push(message);
  return collected;
}

async function* send(...messages: { receiverId?: string; text?: string; contextId?: string }[]) {
  for (const message of messages) yield create(A2AMessageSchema, message);
}

describe.each(["grpc", "grpc-web", "connect"] as const)("AgentService over %s", (protocol) => {
  const agents = () => backend.agents(backend.transports[protocol]);

  it("answers one message with the whole reply", async () => {
    const reply = await agents().processMessage(hello, { headers: backend.headers });
    expect(reply).toMatchObject({ text: "hello there", senderId: "scripted", receiverId: "ann" });
    expect(reply.metadata).toMatchObject({ model: "builtin/echo" });
  });

  it("streams one turn", async () => {
    const events = await collect(agents().streamReply(hello, { headers: backend.headers }));
    expect(events.map((event) => event.body.case)).toEqual(["accepted", "delta", "delta", "content"]);
  });

  it("resumes a turn after a sequence, and refuses a sequence in the future", async () => {
    const events = await collect(agents().streamReply(hello, { headers: backend.headers }));
    const taskId = events[0]?.taskId ?? "";
    const rest = await collect(
      agents().resumeReply({ taskId, afterSequence: 2 }, { headers: backend.headers }),
    );
    expect(rest).toEqual(events.slice(2));
    const future = collect(agents().resumeReply({ taskId, afterSequence: 99 }, { headers: backend.headers }));
    expect((await rejection(future)).code).toBe(Code.InvalidArgument);
  });

  it("puts deltas together for who asks for it, and refuses an interval out of range", async () => {
    const headers = { ...backend.headers, [DELTA_INTERVAL_HEADER]: "1000" };
    const [accepted] = await collect(agents().streamReply(hello, { headers }));
    const { taskId = "" } = accepted ?? {};
    const rest = await collect(agents().resumeReply({ taskId, afterSequence: 1 }, { headers }));
    expect(rest.map(({ sequence }) => sequence)).toEqual([3, 4]);
    expect(rest[0]?.body).toMatchObject({ case: "deltas", value: { texts: ["hello ", "there"] } });
    const refused = { ...headers, [DELTA_INTERVAL_HEADER]: "0" };
    const refusal = await rejection(collect(agents().streamReply(hello, { headers: refused })));
    expect(refusal.code).toBe(Code.InvalidArgument);
    expect(refusal.message).toContain("from 1 to 1000");
  });

  it("starts a turn that goes on by itself, and shows its task", async () => {
    const { headers } = backend;
    const accepted = await agents().startReply(hello, { headers });
    expect(accepted).toMatchObject({ sequence: 1, body: { case: "accepted" } });
    const { taskId } = accepted;
    await collect(agents().resumeReply({ taskId, afterSequence: 1 }, { headers }));
    expect(await agents().getTask({ taskId }, { headers })).toMatchObject({
      id: taskId,
      contextId: accepted.contextId,
      status: { state: TaskState.COMPLETED },
      metadata: { sequence: 4 },
    });
    const unknown = await rejection(agents().getTask({ taskId: "nobodys" }, { headers }));
    expect(unknown.code).toBe(Code.NotFound);
  });

  it.each([
    ["no credential", {}],
    ["a malformed key", { authorization: "Bearer parley_x" }],
    ["a wrong secret", { authorization: `Bearer parley_aaaaaaaaaaaa_${"x".repeat(43)}` }],
    ["a token that the edge did not sign", { "parley-backend-token": "eyJhbGciOiJub25lIn0.e30." }],
  ])("refuses %s without saying why, with the request id", async (_, headers) => {
    const error = await rejection(
      agents().processMessage(hello, { headers: headers as Record<string, string> }),
    );
    expect(error.code).toBe(Code.Unauthenticated);
    expect(error.rawMessage).toBe("send a valid API key as `authorization: Bearer parley_<id>_<secret>`");
    expect(error.metadata.get("x-request-id")).toMatch(/^[0-9a-f-]{36}$/);
  });

  it("takes the edge's token for the caller it names, and its request id", async () => {
    const token = await signBackendToken(
      backend.backendTokenKey,
      { principal: { ...ann, subject: "from-the-edge" }, requestId: "edge-request-1" },
      Date.now(),
    );
    let requestId: string | null = null;
    const reply = await agents().processMessage(hello, {
      headers: { "parley-backend-token": token },
      onHeader: (header) => {
        requestId = header.get("x-request-id");
      },
    });
    expect(reply.receiverId).toBe("from-the-edge");
    expect(requestId).toBe("edge-request-1");
  });

  it("refuses a token of the edge that has expired", async () => {
    const claims = { principal: ann, requestId: "r" };
    const token = await signBackendToken(backend.backendTokenKey, claims, Date.now() - 120_000);
    const error = await rejection(
      agents().processMessage(hello, { headers: { "parley-backend-token": token } }),
    );
    expect(error.code).toBe(Code.Unauthenticated);
  });

  it.each([
    ["no receiver", { text: "hi" }, /receiver_id must name the agent/],
    ["no content", { receiverId: "scripted" }, /needs `text`, or `content`/],
    ["blank content", { receiverId: "scripted", text: " \n" }, /the message is empty/],
    ["a strange message id", { ...hello, messageId: "a b" }, /message_id/],
    [
      "a history beside a context",
      { ...hello, contextId: "c1", history: {} },
      /either history or context_id/,
    ],
    ["too long a history", { ...hello, history: { turns: Array(1_001).fill(TURN) } }, /history\.turns/],
    ["a turn of nobody", { ...hello, history: { turns: [{ text: "hi" }] } }, /history\.turns\.role/],
    ["too hot a model", { ...hello, parameters: { temperature: 2.1 } }, /parameters\.temperature/],
    ["no output at all", { ...hello, parameters: { outputTokensMax: 0 } }, /parameters\.output_tokens_max/],
    ["too many stops", { ...hello, parameters: { stop: ["1", "2", "3", "4", "5"] } }, /parameters\.stop/],
    ["a number that is none", { ...hello, parameters: { topP: Number.NaN } }, /parameters\.top_p/],
    ["too long a receiver", { receiverId: "x".repeat(200), text: "hi" }, /receiver_id/],
  ])("refuses %s and says what is wrong", async (_, message, problem) => {
    const error = await rejection(agents().processMessage(message, { headers: backend.headers }));
    expect(error.code).toBe(Code.InvalidArgument);
    expect(error.rawMessage).toMatch(problem);
  });

  it("names every violation of the proto's rules in its details", async () => {
    const message = { ...hello, messageId: "a b", contextId: "c d" };
    const error = fromConnectError(
      await rejection(agents().processMessage(message, { headers: backend.headers })),
    );
    const violations = error.details?.["violations"] as { field: string }[];
    expect(violations.map(({ field }) => field)).toEqual(["message_id", "context_id"]);
  });

  it("refuses parts that hold nothing, and more parts than the limit", async () => {
    const nothing = create(A2AMessageSchema, {
      receiverId: "scripted",
      body: { case: "content", value: { parts: [create(PartSchema)] } },
    });
    expect((await rejection(agents().processMessage(nothing, { headers: backend.headers }))).code).toBe(
      Code.InvalidArgument,
    );
    const part = create(PartSchema, { content: { case: "text", value: "x" } });
    const many = {
      receiverId: "scripted",
      body: { case: "content" as const, value: { parts: Array(65).fill(part) } },
    };
    const error = await rejection(agents().processMessage(many, { headers: backend.headers }));
    expect(error.rawMessage).toMatch(/64 item/);
  });

  it("refuses a message over the size limit and answers the next one", async () => {
    const big = { receiverId: "scripted", text: "x".repeat(200_000) };
    const error = await rejection(agents().processMessage(big, { headers: backend.headers }));
    expect(error.code).toBe(Code.ResourceExhausted);
    await expect(agents().processMessage(hello, { headers: backend.headers })).resolves.toBeDefined();
  });

  it("has no agent of another tenant's", async () => {
    const token = await signBackendToken(
      backend.backendTokenKey,
      { principal: { ...ann, tenantId: "umbrella" }, requestId: "r-umbrella" },
      Date.now(),
    );
    const error = await rejection(
      agents().processMessage(hello, { headers: { "parley-backend-token": token } }),
    );
    expect(error.code).toBe(Code.NotFound);
  });
});

describe("StreamMessage", () => {
  const converse = (...messages: Parameters<typeof send>) =>
    collect(backend.agents().streamMessage(send(...messages), { headers: backend.headers }));

  it("answers every message of a stream, in one context, in order", async () => {
    const events = await converse(
      { receiverId: "scripted", text: "one" },
      { receiverId: "scripted", text: "two" },
    );
    const replies = events.filter((event) => event.body.case === "content");
    expect(replies.map((event) => event.text)).toEqual(["one", "two"]);
    expect(new Set(events.map((event) => event.contextId)).size).toBe(1);
    expect(events.filter((event) => event.body.case === "delta")).toHaveLength(2);
  });

  it("answers what cannot be taken with an error in the stream and goes on", async () => {
    const events = await converse(
      { text: "to nobody" },
      { receiverId: "nobody", text: "hi" },
      { receiverId: "scripted", text: "fine" },
    );
    const codes = events.flatMap(({ body }) => (body.case === "error" ? [body.value.code] : []));
    expect(codes).toEqual(["invalid_argument", "not_found"]);
    expect(events.at(-1)?.text).toBe("fine");
  });

  it("is refused over HTTP/1.1 with a clear code", async () => {
    const call = collect(
      backend.agents(backend.transports.connect).streamMessage(send(hello), { headers: backend.headers }),
    );
    expect((await rejection(call)).code).not.toBe(Code.Internal);
  });
});

describe("the log", () => {
  it("has the request id and the trace of each call, and never a key", async () => {
    const trace = "0af7651916cd43dd8448eb211c80319c";
    const headers = {
      ...backend.headers,
      "x-request-id": "request-in-the-log",
      traceparent: `00-${trace}-b7ad6b7169203331-01`,
    };
    await backend.agents().processMessage(hello, { headers });
    const line = backend.logs.find(({ requestId }) => requestId === "request-in-the-log");
    expect(line).toMatchObject({ traceId: trace, tenantId: "acme", subject: "ann" });
    expect(JSON.stringify(backend.logs)).not.toContain(backend.key.secret);
  });
});
