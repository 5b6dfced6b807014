/** The OpenAI-compatible surface, by its wire: what the bytes of every answer are. */
import { create } from "@bufbuild/protobuf";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { toConnectError } from "../../../core/errors/connect-errors.ts";
import { ParleyError } from "../../../core/errors/parley-error.ts";
import {
  type A2AMessage,
  ErrorSchema,
  RestartSchema,
} from "../../../proto/gen/parley/v1/agent_service_pb.js";
import { createEdgeHarness, type EdgeHarness, eventually } from "../support/edge-harness.ts";
import {
  answerTo,
  replyTo,
  type ScriptedBackend,
  startScriptedBackend,
  streamOf,
  untilAborted,
} from "../support/scripted-backend.ts";

// biome-ignore lint/suspicious/noExplicitAny: assertions read into whatever came back
type Json = any;

const HELLO = { model: "assistant", messages: [{ role: "user", content: "hello" }] };
const STREAM = { ...HELLO, stream: true };
const METADATA = { model: "openai/small", finishReason: "stop", usage: { inputTokens: 3, outputTokens: 5 } };
const ESTIMATED = { ...METADATA, usage: { ...METADATA.usage, estimated: true }, cached: true };

let backend: ScriptedBackend;
let edge: EdgeHarness;
beforeAll(async () => {
  backend = await startScriptedBackend();
});
afterAll(() => backend.stop());
beforeEach(async () => {
  backend.calls.length = 0;
  backend.script.processMessage = (message) => ({ ...replyTo(message, "hello back"), metadata: METADATA });
  backend.script.streamReply = (message) => withMetadata(streamOf(message, ["hel", "lo"]));
  edge = await createEdgeHarness({ BACKEND_URLS: backend.url });
  edge.directory.addAgent("careful", {
    kind: "model",
    models: [{ provider: "builtin" }],
    completions: { holdBack: true },
  });
});

async function* withMetadata(events: AsyncIterable<A2AMessage>): AsyncGenerator<A2AMessage> {
  for await (const event of events) {
    yield event.body.case === "content" ? { ...event, metadata: METADATA } : event;
  }
}

function post(body: unknown, headers: Record<string, string> = {}, signal?: AbortSignal) {
  return edge.request("/v1/chat/completions", {
    method: "POST",
    body: typeof body === "string" ? body : JSON.stringify(body),
    headers: { authorization: `Bearer ${edge.apiKey}`, "content-type": "application/json", ...headers },
    ...(signal && { signal }),
  });
}

const get = (path: string) => edge.request(path, { headers: { authorization: `Bearer ${edge.apiKey}` } });

/** The data of a stream's events; comments are left out. */
function dataOf(text: string): string[] {
  expect(text.endsWith("\n\n")).toBe(true);
  const blocks = text.slice(0, -2).split("\n\n");
  return blocks.filter((block) => !block.startsWith(":")).map((block) => block.replace(/^data: /, ""));
}

const chunksOf = (text: string): Json[] =>
  dataOf(text).map((data) => (data === "[DONE]" ? data : JSON.parse(data)));
const contentOf = (chunks: Json[]) => chunks.map((chunk) => chunk.choices?.[0]?.delta.content ?? "").join("");

describe("POST /v1/chat/completions", () => {
  it("answers with OpenAI's object, names the agent as the model, and the real one beside it", async () => {
    const answer = await post(HELLO);
    expect(answer.status).toBe(200);
    expect(answer.headers.get("parley-model")).toBe("openai/small");
    expect(await answer.json()).toEqual({
      id: "chatcmpl-task-1",
      object: "chat.completion",
      created: expect.any(Number),
      model: "assistant",
      choices: [
        {
          index: 0,
          message: { role: "assistant", content: "hello back", refusal: null },
          logprobs: null,
          finish_reason: "stop",
        },
      ],
      usage: { prompt_tokens: 3, completion_tokens: 5, total_tokens: 8 },
      parley: { taskId: "task-1", model: "openai/small" },
    });
    expect(backend.calls[0]?.message).toMatchObject({
      receiverId: "assistant",
      senderId: "alice",
      contextId: "",
    });
  });

  it("streams OpenAI's chunks: role, content, reason, [DONE], and nothing else", async () => {
    const answer = await post(STREAM);
    expect(answer.headers.get("content-type")).toBe("text/event-stream");
    const text = await answer.text();
    expect(text).not.toMatch(/^(?:id|event):/m);
    const chunks = chunksOf(text);
    expect(chunks.pop()).toBe("[DONE]");
    for (const chunk of chunks) {
      expect(chunk).toMatchObject({
        id: "chatcmpl-task-1",
        object: "chat.completion.chunk",
        created: expect.any(Number),
        model: "assistant",
        choices: [{ index: 0, logprobs: null }],
      });
      expect(chunk).not.toHaveProperty("usage");
    }
    expect(chunks.map(({ choices: [{ delta, finish_reason }] }) => [delta, finish_reason])).toEqual([
      [{ role: "assistant", content: "", refusal: null }, null],
      [{ content: "hel" }, null],
      [{ content: "lo" }, null],
      [{}, "stop"],
    ]);
    expect(chunks.at(-1).parley).toEqual({ taskId: "task-1", model: "openai/small" });
  });

  it("ends with a chunk of usage for who asked for it", async () => {
    const chunks = chunksOf(
      await (await post({ ...STREAM, stream_options: { include_usage: true } })).text(),
    );
    expect(chunks.pop()).toBe("[DONE]");
    const last = chunks.pop();
    expect(last).toMatchObject({ id: "chatcmpl-task-1", choices: [] });
    expect(last.usage).toEqual({ prompt_tokens: 3, completion_tokens: 5, total_tokens: 8 });
    expect(chunks.map(({ usage }) => usage)).toEqual([null, null, null, null]);
  });

  it.each([
    ["length", "length"],
    ["content-filter", "content_filter"],
    ["tool-calls", "tool_calls"],
    ["something new", "stop"],
  ])("says why the answer ended: %s", async (reason, expected) => {
    const metadata = { ...METADATA, finishReason: reason };
    backend.script.processMessage = (message) => ({ ...replyTo(message, "x"), metadata });
    expect(((await (await post(HELLO)).json()) as Json).choices[0].finish_reason).toBe(expected);
  });

  it("delivers the preset reply as the answer, and says that it is one", async () => {
    const metadata = { model: "preset", degraded: "preset-reply" };
    backend.script.processMessage = (message) => ({ ...replyTo(message, "Back soon."), metadata });
    const answer = await post(HELLO);
    expect(answer.headers.get("parley-degraded")).toBe("preset-reply");
    expect(await answer.json()).toMatchObject({
      choices: [{ message: { content: "Back soon." }, finish_reason: "stop" }],
      parley: { degraded: "preset-reply" },
    });
  });

  it("shows what else is known of the reply, such as that its usage is an estimate", async () => {
    backend.script.processMessage = (message) => ({ ...replyTo(message, "x"), metadata: ESTIMATED });
    expect(await (await post(HELLO)).json()).toMatchObject({
      parley: { taskId: "task-1", model: "openai/small", cached: true, usageEstimated: true },
    });
  });

  it("takes an idempotency key as the message's id", async () => {
    await post(HELLO, { "idempotency-key": "once-1" });
    expect(backend.calls[0]?.message.messageId).toBe("once-1");
    expect((await post(HELLO, { "idempotency-key": "not one" })).status).toBe(400);
  });
});

/** A restart after the second piece, then the whole answer. */
async function* restarting(message: A2AMessage): AsyncGenerator<A2AMessage> {
  const all: A2AMessage[] = [];
  for await (const event of withMetadata(streamOf(message, ["wrong ", "way", "right"]))) all.push(event);
  yield* all.slice(0, 3);
  const restart = create(RestartSchema, { discardAfterSequence: 1, reason: "truncated" });
  yield answerTo(message, { sequence: 4, body: { case: "restart", value: restart } });
  yield answerTo(message, { sequence: 5, body: { case: "delta", value: "right" } });
  yield { ...replyTo(message, "right"), metadata: METADATA, sequence: 6 };
}

describe("an answer that starts again", () => {
  beforeEach(() => {
    backend.script.streamReply = restarting;
  });

  it("after its first piece ends the stream with an error, never cleanly, and stops the task", async () => {
    const answer = await post(STREAM);
    expect(answer.status).toBe(200);
    const text = await answer.text();
    expect(text).not.toMatch(/\[DONE\]|"finish_reason":"/);
    const last = chunksOf(text).at(-1);
    expect(last).toEqual({
      error: {
        message: expect.stringMatching(/^the model failed in the middle of its answer/),
        type: "server_error",
        param: null,
        code: "stream_restarted",
        details: { presetReply: "Back soon." },
      },
    });
    await eventually(() => backend.calls.some(({ method }) => method === "cancelReply"));
    expect(edge.lines.at(-1)).toMatchObject({ status: 200, code: "unavailable", reason: "stream-restarted" });
  });

  it("before its first piece is whole, and nobody notices", async () => {
    backend.script.streamReply = async function* (message) {
      for await (const event of restarting(message))
        if (event.sequence !== 2 && event.sequence !== 3)
          yield { ...event, sequence: event.sequence > 3 ? event.sequence - 2 : event.sequence };
    };
    const chunks = chunksOf(await (await post(STREAM)).text());
    expect(chunks.pop()).toBe("[DONE]");
    expect(contentOf(chunks)).toBe("right");
  });

  it.each([
    ["the agent is configured so", { ...STREAM, model: "careful" }, {}],
    ["the request asks for it", STREAM, { "parley-stream": "hold-back" }],
  ])("is whole when it is held back, as %s", async (_, body, headers) => {
    const answer = await post(body, headers as Record<string, string>);
    expect(answer.headers.get("parley-model")).toBe("openai/small");
    const chunks = chunksOf(await answer.text());
    expect(chunks.pop()).toBe("[DONE]");
    expect(contentOf(chunks)).toBe("right");
    expect(chunks.at(-1).choices[0].finish_reason).toBe("stop");
  });

  it("is not held back where the request wants it live", async () => {
    const answer = await post({ ...STREAM, model: "careful" }, { "parley-stream": "live" });
    expect(await answer.text()).not.toContain("[DONE]");
    expect((await post(STREAM, { "parley-stream": "sometimes" })).status).toBe(400);
  });
});

describe("a held-back answer", () => {
  it("goes out in pieces that make it whole, whatever is in it", async () => {
    const text = `${"word ".repeat(50)}\n\n${"x".repeat(300)}👩‍👩‍👧 ${"\n".repeat(5)}end  `;
    backend.script.streamReply = (message) => withMetadata(streamOf(message, [text]));
    const chunks = chunksOf(await (await post(STREAM, { "parley-stream": "hold-back" })).text());
    expect(chunks.pop()).toBe("[DONE]");
    expect(contentOf(chunks)).toBe(text);
    expect(chunks.length).toBeGreaterThan(8);
  });
});

describe("a stream that fails", () => {
  const failing = (...deltas: string[]) =>
    async function* (message: A2AMessage) {
      for await (const event of streamOf(message, deltas)) if (event.body.case !== "content") yield event;
      const error = create(ErrorSchema, { code: "unavailable", message: "not now", retryAfterSeconds: 3 });
      yield answerTo(message, { sequence: deltas.length + 2, body: { case: "error", value: error } });
    };

  it("before its first piece has the status of its failure, in OpenAI's form", async () => {
    backend.script.streamReply = failing();
    const answer = await post(STREAM);
    expect(answer.status).toBe(503);
    expect(answer.headers.get("retry-after")).toBe("3");
    expect(await answer.json()).toMatchObject({
      error: { message: "not now", type: "server_error", param: null },
    });
  });

  it.each([
    ["content-policy", "content_policy_violation"],
    ["context-window", "context_length_exceeded"],
  ])("because of what it asks has OpenAI's word for it (%s)", async (reason, code) => {
    backend.script.streamReply = async function* (message) {
      const error = create(ErrorSchema, { code: "invalid_argument", message: "no", reason });
      yield answerTo(message, { sequence: 1, body: { case: "error", value: error } });
    };
    backend.script.processMessage = () => {
      throw toConnectError(new ParleyError("invalid_argument", "no", { reason }), "r");
    };
    for (const body of [HELLO, STREAM]) {
      const answer = await post(body);
      expect(answer.status).toBe(400);
      expect(((await answer.json()) as Json).error).toMatchObject({ type: "invalid_request_error", code });
    }
  });

  it("later ends with an error in it, and not cleanly", async () => {
    backend.script.streamReply = failing("half");
    const text = await (await post(STREAM)).text();
    expect(text).not.toMatch(/\[DONE\]|"finish_reason":"/);
    expect(chunksOf(text).at(-1).error).toMatchObject({ message: "not now", type: "server_error" });
    expect(backend.calls.map(({ method }) => method)).toEqual(["streamReply"]);
  });

  it("with an answer that is another one than what came is no clean end", async () => {
    backend.script.streamReply = async function* (message) {
      for await (const event of streamOf(message, ["one"])) {
        yield event.body.case === "content"
          ? { ...replyTo(message, "two"), sequence: event.sequence }
          : event;
      }
    };
    const text = await (await post(STREAM)).text();
    expect(text).not.toContain("[DONE]");
    expect(text).toContain("stream_restarted");
  });

  it("ends with what was not streamed, when the answer has more", async () => {
    backend.script.streamReply = async function* (message) {
      for await (const event of streamOf(message, ["one"])) {
        yield event.body.case === "content"
          ? { ...replyTo(message, "one and two"), sequence: event.sequence }
          : event;
      }
    };
    expect(contentOf(chunksOf(await (await post(STREAM)).text()).slice(0, -1))).toBe("one and two");
  });
});

describe("a client that leaves a stream", () => {
  it("has its task stopped: this wire has no other way to stop it", async () => {
    backend.script.streamReply = async function* (message, { signal }) {
      for await (const event of streamOf(message, ["half"])) {
        if (event.body.case === "content") await untilAborted(signal);
        yield event;
      }
    };
    const reader = (await post(STREAM)).body?.getReader();
    await reader?.read();
    await reader?.cancel();
    await eventually(() => backend.calls.some(({ method }) => method === "cancelReply"));
    expect(edge.lines.at(-1)).toMatchObject({ code: "canceled" });
  });

  it("before its task is known has it stopped once it is", async () => {
    const gate = Promise.withResolvers<void>();
    backend.script.streamReply = async function* (message, { signal }) {
      await gate.promise;
      for await (const event of streamOf(message, ["half"])) {
        if (event.body.case === "content") await untilAborted(signal);
        yield event;
      }
    };
    const client = new AbortController();
    const answer = post(STREAM, {}, client.signal);
    await eventually(() => backend.calls.length === 1);
    client.abort();
    expect((await answer).status).toBe(499);
    gate.resolve();
    await eventually(() => backend.calls.some(({ method }) => method === "cancelReply"));
  });

  it("after its end stops nothing", async () => {
    await (await post(STREAM)).text();
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(backend.calls.map(({ method }) => method)).toEqual(["streamReply"]);
  });
});

describe("errors", () => {
  it.each<[string, () => Promise<Response> | Response, number, object]>([
    [
      "no key",
      () => post(HELLO, { authorization: "" }),
      401,
      { code: "invalid_api_key", type: "invalid_request_error" },
    ],
    ["a wrong key", () => post(HELLO, { authorization: "Bearer sk-123" }), 401, { code: "invalid_api_key" }],
    [
      "an unknown model",
      () => post({ ...HELLO, model: "gpt-5" }),
      404,
      { code: "model_not_found", type: "invalid_request_error" },
    ],
    ["another tenant's agent", () => post({ ...HELLO, model: "secret" }), 404, { code: "model_not_found" }],
    ["an unknown model by name", () => get("/v1/models/gpt-5"), 404, { code: "model_not_found" }],
    ["no JSON", () => post("{"), 400, { type: "invalid_request_error" }],
    ["a body that is too deep", () => post(`{"messages":${"[".repeat(50)}${"]".repeat(50)}}`), 400, {}],
    ["binary", () => post("\u0000\u0001\u0002"), 400, {}],
    [
      "a bad parameter",
      () => post({ ...HELLO, temperature: 3 }),
      400,
      { param: "temperature", code: "invalid_value" },
    ],
    ["an empty question", () => post({ ...HELLO, messages: [{ role: "user", content: " " }] }), 400, {}],
    [
      "no JSON's media type",
      () => post(HELLO, { "content-type": "text/plain" }),
      415,
      { code: "unsupported_media_type" },
    ],
    ["too large a body", () => post({ ...HELLO, x: "x".repeat(1_100_000) }), 413, { code: "body_too_large" }],
    ["another method", () => get("/v1/chat/completions"), 405, { code: "method_not_allowed" }],
    ["another endpoint", () => get("/v1/embeddings"), 404, { code: "unknown_url" }],
  ])("have OpenAI's form: %s", async (_, request, status, error) => {
    const answer = await request();
    expect(answer.status).toBe(status);
    const body = (await answer.json()) as Json;
    expect(Object.keys(body.error)).toEqual(expect.arrayContaining(["message", "type", "param", "code"]));
    expect(body.error).toMatchObject({ type: "invalid_request_error", ...error });
    expect(answer.headers.get("x-request-id")).toMatch(/./);
    expect(backend.calls).toHaveLength(0);
  });

  it("say when to come back, of which limit", async () => {
    const key = await edge.directory.addKey({ limits: { requestsPerMinute: 1 } });
    await (await post(HELLO, { authorization: `Bearer ${key}` })).text();
    const answer = await post(HELLO, { authorization: `Bearer ${key}` });
    expect(answer.status).toBe(429);
    expect(Number(answer.headers.get("retry-after"))).toBeGreaterThan(0);
    expect(answer.headers.get("ratelimit")).toContain('"requests";r=0');
    expect(((await answer.json()) as Json).error).toMatchObject({
      type: "requests",
      code: "rate_limit_exceeded",
    });
    const poor = await edge.directory.addKey({ limits: { tokensPerMinute: 1 } });
    await (await post(HELLO, { authorization: `Bearer ${poor}` })).text();
    const refused = await post(HELLO, { authorization: `Bearer ${poor}` });
    expect(((await refused.json()) as Json).error).toMatchObject({
      type: "tokens",
      code: "rate_limit_exceeded",
    });
  });

  it("of the backend keep their status and never their inside", async () => {
    backend.script.processMessage = () => {
      throw toConnectError(new ParleyError("internal", "internal error"), "r");
    };
    const answer = await post(HELLO);
    expect(answer.status).toBe(500);
    expect(((await answer.json()) as Json).error).toMatchObject({ type: "server_error" });
  });
});

describe("GET /v1/models", () => {
  it("lists the caller's agents as models, and none of another tenant", async () => {
    const body = (await (await get("/v1/models")).json()) as Json;
    expect(body.object).toBe("list");
    expect(body.data.map(({ id }: Json) => id)).toEqual(["assistant", "echo", "careful"]);
    expect(body.data[0]).toEqual({
      ...{ id: "assistant", object: "model", created: 0, owned_by: "parley" },
      ...{ name: "assistant", description: "the agent assistant" },
    });
  });

  it("has one by its id", async () => {
    expect(await (await get("/v1/models/echo")).json()).toMatchObject({ id: "echo", object: "model" });
  });
});
