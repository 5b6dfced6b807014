import { create } from "@bufbuild/protobuf";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { toConnectError } from "../../../core/errors/connect-errors.ts";
import { type ErrorCode, ParleyError } from "../../../core/errors/parley-error.ts";
import { MemoryLimiter } from "../../../core/limits/memory-limiter.ts";
import { acceptOrStartTrace } from "../../../core/messages/trace-context.ts";
import { Deadline } from "../../../core/resilience/deadline.ts";
import type { AgentBackend, BackendCall } from "../../../edge/backend/agent-backend.ts";
import { createComposition } from "../../../edge/composition.ts";
import { readEdgeConfig } from "../../../edge/env.ts";
import { A2AMessageSchema } from "../../../proto/gen/parley/v1/agent_service_pb.js";
import { eventually, TEST_ENV } from "../support/edge-harness.ts";
import { emptyDatabase, MemoryDirectory } from "../support/memory-directory.ts";
import {
  answerTo,
  type ScriptedBackend,
  startScriptedBackend,
  untilAborted,
  unusedUrl,
} from "../support/scripted-backend.ts";

const MESSAGE = create(A2AMessageSchema, { messageId: "m-1", receiverId: "echo", text: "hi" });

let server: ScriptedBackend;
let backend: AgentBackend;

function backendAt(...urls: string[]): AgentBackend {
  const config = readEdgeConfig({ ...TEST_ENV, BACKEND_URLS: urls.join(",") });
  return createComposition(config, {
    directory: new MemoryDirectory(),
    sql: emptyDatabase,
    limiter: new MemoryLimiter(Date.now),
    checkDatabase: async () => {},
    fetch: (input, init) => fetch(input, init),
    random: () => 0,
    now: Date.now,
  }).backend;
}

beforeEach(async () => {
  server = await startScriptedBackend();
  backend = backendAt(server.url);
});
afterEach(async () => {
  vi.restoreAllMocks();
  await server.stop();
});

function call(fields: Partial<BackendCall> = {}): BackendCall {
  return {
    principal: { tenantId: "t", subject: "s", scopes: [], keyId: "k" },
    requestId: "request-1",
    trace: acceptOrStartTrace(undefined),
    deadline: Deadline.after(5_000, Date.now),
    signal: new AbortController().signal,
    onAttempt: () => {},
    ...fields,
  };
}

describe("the backend's client", () => {
  it("ends the call when its stream is left early, and leaves no timer behind", async () => {
    server.script.streamReply = async function* (message, { signal }) {
      yield answerTo(message, { sequence: 1, body: { case: "delta", value: "a" } });
      await untilAborted(signal);
    };
    const timersSet = vi.spyOn(globalThis, "setTimeout");
    const timersCleared = vi.spyOn(globalThis, "clearTimeout");
    for await (const event of backend.streamReply(MESSAGE, call())) {
      expect(event.sequence).toBe(1);
      break;
    }
    await eventually(() => server.calls[0]?.signal.aborted === true);
    // The server's own one is among them: it runs in this process.
    const deadlines = timersSet.mock.calls.flatMap(([, delayMs], i) =>
      delayMs && delayMs > 4_000 && delayMs <= 5_000 ? [timersSet.mock.results[i]?.value] : [],
    );
    expect(deadlines).toHaveLength(2);
    await eventually(() => deadlines.every((timer) => timersCleared.mock.calls.some(([it]) => it === timer)));
  });

  it("does not begin a call whose time is up, nor blames the address for it", async () => {
    const late = call({ deadline: Deadline.after(0, Date.now) });
    for (let i = 0; i < 10; i++) {
      await expect(backend.processMessage(MESSAGE, late)).rejects.toMatchObject({
        code: "deadline_exceeded",
      });
    }
    expect(server.calls).toHaveLength(0);
    await expect(backend.processMessage(MESSAGE, call())).resolves.toMatchObject({ inReplyTo: "m-1" });
  });

  it("throws the reason of its signal", async () => {
    server.script.processMessage = async (message, { signal }) => {
      await untilAborted(signal);
      return message;
    };
    const abort = new AbortController();
    const reply = backend.processMessage(MESSAGE, call({ signal: abort.signal }));
    await eventually(() => server.calls.length === 1);
    abort.abort(new Error("enough"));
    await expect(reply).rejects.toMatchObject({ code: "internal", cause: { message: "enough" } });
  });

  it("starts a turn and gives its first event", async () => {
    const accepted = await backend.startReply(MESSAGE, call());
    expect(accepted).toMatchObject({ inReplyTo: "m-1", sequence: 1, body: { case: "accepted" } });
  });
});

describe("a call about a task", () => {
  let other: ScriptedBackend;
  beforeEach(async () => {
    other = await startScriptedBackend();
  });
  afterEach(() => other.stop());

  const calls: Record<string, (agents: AgentBackend) => Promise<unknown>> = {
    getTask: (agents) => agents.getTask("task-1", call()),
    cancelReply: (agents) => agents.cancelReply("task-1", call()),
    resumeReply: async (agents) => {
      const sequences: number[] = [];
      const position = { taskId: "task-1", afterSequence: 2 };
      for await (const event of agents.resumeReply(position, call())) sequences.push(event.sequence);
      return sequences;
    },
  };
  const ANSWERS = {
    getTask: { id: "task-1" },
    cancelReply: { body: { case: "status" } },
    resumeReply: [3, 4],
  };

  function knowNothing({ script }: ScriptedBackend, code: ErrorCode = "not_found"): void {
    const refuse = () => {
      throw toConnectError(new ParleyError(code, `no, ${code}`), "r");
    };
    // biome-ignore lint/correctness/useYield: it refuses before it says anything
    const refuseStream = async function* () {
      refuse();
    };
    Object.assign(script, { getTask: refuse, cancelReply: refuse, resumeReply: refuseStream });
  }

  describe.each(["getTask", "cancelReply", "resumeReply"] as const)("(%s)", (name) => {
    it("is answered by the address that knows the task, whichever is asked first", async () => {
      knowNothing(server);
      const agents = backendAt(server.url, other.url);
      await expect(calls[name]?.(agents)).resolves.toMatchObject(ANSWERS[name]);
      await expect(calls[name]?.(agents)).resolves.toMatchObject(ANSWERS[name]);
    });

    it("finds no task only when every address says so", async () => {
      knowNothing(server);
      knowNothing(other);
      await expect(calls[name]?.(backendAt(server.url, other.url))).rejects.toMatchObject({
        code: "not_found",
        message: "no, not_found",
      });
      expect([server.calls.length, other.calls.length]).toEqual([1, 1]);
      const withOneAway = backendAt(server.url, await unusedUrl());
      for (let i = 0; i < 4; i++) {
        await expect(calls[name]?.(withOneAway)).rejects.toMatchObject({ code: "unavailable" });
      }
    });

    it("is not made again after another answer", async () => {
      knowNothing(server, "invalid_argument");
      await expect(calls[name]?.(backendAt(server.url, other.url))).rejects.toMatchObject({
        code: "invalid_argument",
      });
      expect(other.calls).toHaveLength(0);
    });
  });
});
