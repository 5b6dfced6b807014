import { create } from "@bufbuild/protobuf";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { toConnectError } from "../../../core/errors/connect-errors.ts";
import { ParleyError } from "../../../core/errors/parley-error.ts";
import { eventStream } from "../../../edge/http/event-stream.ts";
import { type A2AMessage, A2AMessageSchema } from "../../../proto/gen/parley/v1/agent_service_pb.js";
import {
  createEdgeHarness,
  type EdgeHarness,
  type ErrorAnswer,
  eventually,
} from "../support/edge-harness.ts";
import {
  answerTo,
  foreignError,
  restOfReply,
  type ScriptedBackend,
  startScriptedBackend,
  streamOf,
  untilAborted,
} from "../support/scripted-backend.ts";

const HELLO = { receiverId: "assistant", text: "hello", messageId: "m-1" };
const SSE = { headers: { accept: "text/event-stream" } };

let backend: ScriptedBackend;
let edge: EdgeHarness;

beforeAll(async () => {
  backend = await startScriptedBackend();
});
afterAll(() => backend.stop());
beforeEach(async () => {
  backend.calls.length = 0;
  backend.script.streamReply = (message) => streamOf(message, ["hel", "lo"]);
  backend.script.resumeReply = restOfReply;
  edge = await createEdgeHarness({ BACKEND_URLS: backend.url });
});

describe("a streamed reply", () => {
  it("is one server-sent event per message: id, event, data", async () => {
    const answer = await edge.post(HELLO, SSE);
    expect(answer.status).toBe(200);
    expect(answer.headers.get("content-type")).toBe("text/event-stream");
    expect(answer.headers.get("cache-control")).toBe("no-store");
    expect(answer.headers.get("x-request-id")).toMatch(/./);
    const text = await answer.text();
    const blocks = text.split("\n\n");
    expect(blocks.pop()).toBe("");
    expect(blocks.map((block) => block.split("\n").map((line) => line.split(": ", 1)[0]))).toEqual(
      Array(4).fill(["id", "event", "data"]),
    );
    const events = parseEvents(text);
    expect(events.map(({ id, event }) => [id, event])).toEqual([
      ["1", "accepted"],
      ["2", "delta"],
      ["3", "delta"],
      ["4", "content"],
    ]);
    expect(events[1]?.data).toMatchObject({ delta: "hel", inReplyTo: "m-1", taskId: "task-1", sequence: 2 });
    expect(events[3]?.data).toMatchObject({ text: "hello", metadata: { model: "openai/small" } });
  });

  it("is logged once, at its end, with its model", async () => {
    const answer = await edge.post(HELLO, SSE);
    expect(edge.lines).toHaveLength(0);
    await answer.text();
    expect(edge.lines).toHaveLength(1);
    expect(edge.lines[0]).toMatchObject({ status: 200, model: "openai/small", agentId: "assistant" });
  });

  it("sends each event when it comes", async () => {
    let release = () => {};
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    backend.script.streamReply = async function* (message) {
      yield answerTo(message, { sequence: 1, body: { case: "delta", value: "first" } });
      await gate;
      yield* streamOf(message, []);
    };
    const reader = (await edge.post(HELLO, SSE)).body?.getReader();
    const first = await reader?.read();
    expect(new TextDecoder().decode(first?.value)).toContain("first");
    release();
    await reader?.cancel();
  });
});

describe("a stream that fails", () => {
  it("before its first event is a plain answer with its status", async () => {
    backend.script.streamReply = () => {
      throw toConnectError(new ParleyError("not_found", "no such context"), "r");
    };
    const answer = await edge.post(HELLO, SSE);
    expect(answer.status).toBe(404);
    expect(answer.headers.get("content-type")).toMatch(/json/);
    expect(((await answer.json()) as ErrorAnswer).error.message).toBe("no such context");
  });

  it.each<[string, (message: A2AMessage) => AsyncIterable<A2AMessage>]>([
    [
      "with an error of the backend that passes",
      async function* (message) {
        yield* firstOnly(message);
        throw toConnectError(new ParleyError("resource_exhausted", "enough", { retryAfterMs: 4000 }), "r");
      },
    ],
    [
      "with a foreign error",
      async function* (message) {
        yield* firstOnly(message);
        throw foreignError();
      },
    ],
    [
      "because its connection is cut",
      async function* (message) {
        yield* firstOnly(message);
        setTimeout(() => backend.cut(), 10);
        await new Promise((resolve) => setTimeout(resolve, 500));
      },
    ],
    ["because it ends before its task", firstOnly],
  ])("later, %s, goes on where it broke", async (_, script) => {
    backend.script.streamReply = script;
    const answer = await edge.post(HELLO, SSE);
    const events = parseEvents(await answer.text());
    expect(events.map(({ id, event }) => `${id} ${event}`)).toEqual([
      ...["1 accepted", "2 delta", "3 delta", "4 content"],
    ]);
    expect(backend.calls.map(({ method, afterSequence }) => [method, afterSequence])).toEqual([
      ["streamReply", undefined],
      ["resumeReply", 1],
    ]);
    expect(edge.lines.at(-1)).toMatchObject({ status: 200, attempts: 2, model: "openai/small" });
  });

  it.each<[string, Error, object]>([
    [
      "because the backend is at fault",
      toConnectError(new ParleyError("internal", "internal error"), "r"),
      { code: "internal" },
    ],
    [
      "because no backend knows its task any more",
      toConnectError(new ParleyError("not_found", "there is no task"), "r"),
      { code: "unavailable", message: expect.stringMatching(/lost the reply; send the message again/) },
    ],
    [
      "because nobody can be reached while the request has time",
      foreignError(),
      { code: "deadline_exceeded" },
    ],
  ])("for good, %s, ends with an error event", async (_, failure, error) => {
    backend.script.streamReply = firstOnly;
    // biome-ignore lint/correctness/useYield: it refuses before it says anything
    backend.script.resumeReply = async function* () {
      throw failure;
    };
    const answer = await edge.post(HELLO, { headers: { ...SSE.headers, "parley-timeout-ms": "300" } });
    expect(answer.status).toBe(200);
    const text = await answer.text();
    const events = parseEvents(text);
    expect(events.map(({ event }) => event)).toEqual(["accepted", "error"]);
    expect(events[1]?.id).toBeUndefined();
    expect(events[1]?.data).toMatchObject({
      inReplyTo: "m-1",
      error: { ...error, requestId: answer.headers.get("x-request-id") },
    });
    expect(text).not.toContain("10.1.2.3");
  });

  it("because its time is up ends with an error event, and the backend's call with it", async () => {
    backend.script.streamReply = async function* (message, { signal }) {
      yield* firstOnly(message);
      await untilAborted(signal);
    };
    const answer = await edge.post(HELLO, { headers: { ...SSE.headers, "parley-timeout-ms": "150" } });
    const events = parseEvents(await answer.text());
    expect(events.at(-1)).toMatchObject({ event: "error", data: { error: { code: "deadline_exceeded" } } });
    await eventually(() => backend.calls[0]?.signal.aborted === true);
  });
});

describe("a client that goes away", () => {
  beforeEach(() => {
    backend.script.streamReply = async function* (message, { signal }) {
      yield* firstOnly(message);
      await untilAborted(signal);
    };
    backend.script.processMessage = async (message, { signal }) => {
      await untilAborted(signal);
      return message;
    };
  });

  const BRIEF = { "parley-timeout-ms": "600" };

  it("in the middle of a stream ends the request, and with the request's time the call to the backend", async () => {
    const answer = await edge.post(HELLO, { headers: { ...SSE.headers, ...BRIEF } });
    const reader = answer.body?.getReader();
    await reader?.read();
    expect(backend.calls[0]?.signal.aborted).toBe(false);
    await reader?.cancel();
    expect(backend.calls[0]?.signal.aborted).toBe(false);
    expect(edge.lines).toHaveLength(1);
    await eventually(() => backend.calls[0]?.signal.aborted === true);
    expect(edge.lines).toHaveLength(1);
    expect(edge.lines[0]).toMatchObject({ level: "info", code: "canceled" });
  });

  it.each([SSE.headers, {}])("before there is an answer ends the request too (%j)", async (headers) => {
    backend.script.streamReply = async function* (message, { signal }) {
      await untilAborted(signal);
      yield message;
    };
    const client = new AbortController();
    const pending = edge.post(HELLO, { headers: { ...headers, ...BRIEF }, signal: client.signal });
    await eventually(() => backend.calls.length === 1);
    client.abort();
    expect((await pending).status).toBe(499);
    expect(backend.calls[0]?.signal.aborted).toBe(false);
    await eventually(() => backend.calls[0]?.signal.aborted === true);
    expect(backend.calls).toHaveLength(1);
  });
});

describe("keep-alives", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it("are comments, sent when nothing else was for so long", async () => {
    const first = create(A2AMessageSchema, { sequence: 1, body: { case: "delta", value: "a" } });
    let finish: (result: IteratorResult<A2AMessage>) => void = () => {};
    const body = eventStream({
      first,
      rest: { next: () => new Promise((resolve) => (finish = resolve)) },
      keepAliveMs: 15_000,
      onEvent: () => {},
      toErrorEvent: () => first,
      onCancel: () => {},
      onEnd: () => {},
    });
    const reader = body.getReader();
    const read = async () => new TextDecoder().decode((await reader.read()).value);
    expect(await read()).toMatch(/^id: 1\nevent: delta\n/);
    for (let i = 0; i < 2; i++) {
      const comment = read();
      await vi.advanceTimersByTimeAsync(15_000);
      expect(await comment).toBe(": keep-alive\n\n");
    }
    // A reader that stands still gets one at most.
    await vi.advanceTimersByTimeAsync(150_000);
    expect(await read()).toBe(": keep-alive\n\n");
    const last = reader.read();
    finish({ done: true, value: undefined });
    expect((await last).done).toBe(true);
    expect(vi.getTimerCount()).toBe(0);
  });
});

interface ParsedEvent {
  id?: string;
  event?: string;
  data: Record<string, unknown>;
}

function parseEvents(text: string): ParsedEvent[] {
  return text
    .split("\n\n")
    .filter((block) => block !== "" && !block.startsWith(":"))
    .map((block) => {
      const fields = Object.fromEntries(
        block
          .split("\n")
          .map((line) => [line.slice(0, line.indexOf(": ")), line.slice(line.indexOf(": ") + 2)]),
      );
      return { ...fields, data: JSON.parse(fields["data"] ?? "null") } as ParsedEvent;
    });
}

async function* firstOnly(message: A2AMessage): AsyncGenerator<A2AMessage> {
  yield answerTo(message, { sequence: 1, body: { case: "accepted", value: {} as never } });
}
