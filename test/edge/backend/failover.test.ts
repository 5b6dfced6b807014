import { Code } from "@connectrpc/connect";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { toConnectError } from "../../../core/errors/connect-errors.ts";
import { ParleyError } from "../../../core/errors/parley-error.ts";
import { FAILURES_MAX, OPEN_MS } from "../../../edge/backend/address-breaker.ts";
import { createEdgeHarness, type ErrorAnswer } from "../support/edge-harness.ts";
import {
  foreignError,
  replyTo,
  type ScriptedBackend,
  startScriptedBackend,
  streamOf,
  untilAborted,
  unusedUrl,
} from "../support/scripted-backend.ts";

const HELLO = { receiverId: "assistant", text: "hello" };
const SSE = { headers: { accept: "text/event-stream" } };

let first: ScriptedBackend;
let second: ScriptedBackend;

beforeEach(async () => {
  [first, second] = await Promise.all([startScriptedBackend(), startScriptedBackend()]);
});
afterEach(async () => {
  vi.restoreAllMocks();
  await Promise.all([first.stop(), second.stop()]);
});

/** Fails the first calls of both kinds, then answers. */
function failTimes(backend: ScriptedBackend, times: number, failure: () => Error) {
  let left = times;
  backend.script.processMessage = (message) => {
    if (left-- > 0) throw failure();
    return replyTo(message, "at last");
  };
  backend.script.streamReply = async function* (message) {
    if (left-- > 0) throw failure();
    yield* streamOf(message, ["at last"]);
  };
}

describe("a call that fails on the way", () => {
  it.each([
    ["a reply", {}],
    ["a stream, before its first event", SSE],
  ])("is made again on the next address (%s), as the same message", async (_, init) => {
    failTimes(first, 1, foreignError);
    const edge = await createEdgeHarness({ BACKEND_URLS: `${first.url},${second.url}` });
    const answer = await edge.post(HELLO, init);
    expect(answer.status).toBe(200);
    await answer.text();
    expect([first.calls.length, second.calls.length]).toEqual([1, 1]);
    expect(first.calls[0]?.message.messageId).toBe(second.calls[0]?.message.messageId);
    expect(edge.lines.at(-1)).toMatchObject({ backend: second.host, attempts: 2 });
  });

  it("goes to an address not tried yet, also when other requests have moved the turn on", async () => {
    first.script.processMessage = async () => {
      await new Promise((resolve) => setTimeout(resolve, 50));
      throw foreignError();
    };
    const edge = await createEdgeHarness({ BACKEND_URLS: `${first.url},${second.url}` });
    const answers = await Promise.all([edge.post(HELLO), edge.post(HELLO)]);
    expect(answers.map(({ status }) => status)).toEqual([200, 200]);
    expect([first.calls.length, second.calls.length]).toEqual([1, 2]);
  });

  it("is made again when nobody listens", async () => {
    const edge = await createEdgeHarness({ BACKEND_URLS: `${await unusedUrl()},${second.url}` });
    expect((await edge.post(HELLO)).status).toBe(200);
  });

  it("is made again when the connection is cut before the answer", async () => {
    first.script.processMessage = async (message, { signal }) => {
      setTimeout(() => first.cut(), 5);
      await untilAborted(signal);
      return message;
    };
    const edge = await createEdgeHarness({ BACKEND_URLS: `${first.url},${second.url}` });
    expect((await edge.post(HELLO)).status).toBe(200);
    expect(second.calls).toHaveLength(1);
  });

  it("is made again when our backend says that it is unavailable", async () => {
    failTimes(first, 1, () => toConnectError(new ParleyError("unavailable", "draining"), "r"));
    const edge = await createEdgeHarness({ BACKEND_URLS: `${first.url},${second.url}` });
    expect((await edge.post(HELLO)).status).toBe(200);
  });

  it("is made again on the same address when there is no other, and three times in all", async () => {
    failTimes(first, 2, foreignError);
    const edge = await createEdgeHarness({ BACKEND_URLS: first.url });
    expect((await edge.post(HELLO)).status).toBe(200);
    expect(first.calls).toHaveLength(3);
    failTimes(first, 3, foreignError);
    const answer = await edge.post(HELLO);
    expect(answer.status).toBe(503);
    expect(first.calls).toHaveLength(6);
  });

  it.each([
    Code.InvalidArgument,
    Code.NotFound,
    Code.ResourceExhausted,
    Code.FailedPrecondition,
    Code.PermissionDenied,
  ])("is not made again after an answer (code %i)", async (code) => {
    failTimes(first, 1, () => foreignError(code));
    const edge = await createEdgeHarness({ BACKEND_URLS: `${first.url},${second.url}` });
    expect((await edge.post(HELLO)).status).not.toBe(200);
    expect([first.calls.length, second.calls.length]).toEqual([1, 0]);
  });

  it("waits as long as an address asks before it goes back to that one, but not for the next", async () => {
    const draining = () =>
      toConnectError(new ParleyError("unavailable", "draining", { retryAfterMs: 300 }), "r");
    failTimes(first, 1, draining);
    const both = await createEdgeHarness({ BACKEND_URLS: `${first.url},${second.url}` });
    const startedAtMs = Date.now();
    expect((await both.post(HELLO)).status).toBe(200);
    expect(Date.now() - startedAtMs).toBeLessThan(250);
    failTimes(first, 1, draining);
    const alone = await createEdgeHarness({ BACKEND_URLS: first.url });
    const restartedAtMs = Date.now();
    expect((await alone.post(HELLO)).status).toBe(200);
    expect(Date.now() - restartedAtMs).toBeGreaterThanOrEqual(290);
  });
});

describe("a backend that cannot be reached", () => {
  it("is unavailable with Retry-After and the agent's preset reply", async () => {
    const edge = await createEdgeHarness({ BACKEND_URLS: await unusedUrl() });
    for (const init of [{}, SSE]) {
      const answer = await edge.post(HELLO, init);
      expect(answer.status).toBe(503);
      expect(answer.headers.get("retry-after")).toBe("1");
      const { error } = (await answer.json()) as ErrorAnswer;
      expect(error).toMatchObject({
        code: "unavailable",
        retryAfterSeconds: 1,
        details: { presetReply: "Back soon." },
      });
    }
  });

  it("has no preset reply for an agent that has none", async () => {
    const edge = await createEdgeHarness({ BACKEND_URLS: await unusedUrl() });
    const answer = await edge.post({ ...HELLO, receiverId: "echo" });
    expect(answer.status).toBe(503);
    expect(((await answer.json()) as ErrorAnswer).error.details).toBeUndefined();
  });

  it("is left alone once its breaker is open, and used again when it has recovered", async () => {
    failTimes(first, FAILURES_MAX, foreignError);
    const edge = await createEdgeHarness({ BACKEND_URLS: first.url });
    expect((await edge.post(HELLO)).status).toBe(503);
    expect((await edge.post(HELLO)).status).toBe(503);
    expect(first.calls).toHaveLength(FAILURES_MAX);
    const refused = await edge.post(HELLO);
    expect(refused.status).toBe(503);
    expect(first.calls).toHaveLength(FAILURES_MAX);
    expect(refused.headers.get("retry-after")).toBe(String(OPEN_MS / 1000));
    expect(((await refused.json()) as ErrorAnswer).error).toMatchObject({
      code: "unavailable",
      reason: "all-backends-down",
      details: { presetReply: "Back soon." },
    });
    edge.clock.aheadMs = OPEN_MS + 1;
    expect((await edge.post(HELLO)).status).toBe(200);
    expect((await edge.post(HELLO)).status).toBe(200);
  });

  it("is not held against it when it answers with errors of the caller's making", async () => {
    failTimes(first, 20, () => foreignError(Code.InvalidArgument));
    const edge = await createEdgeHarness({ BACKEND_URLS: first.url });
    for (let i = 0; i < 20; i++) expect((await edge.post(HELLO)).status).toBe(400);
    expect((await edge.post(HELLO)).status).toBe(200);
  });
});

describe("the deadline", () => {
  it("leaves no timer behind", async () => {
    const edge = await createEdgeHarness({ BACKEND_URLS: first.url });
    const set = vi.spyOn(globalThis, "setTimeout");
    const cleared = vi.spyOn(globalThis, "clearTimeout");
    await edge.request("/api/v1/agents", { headers: { authorization: `Bearer ${edge.apiKey}` } });
    const deadline = set.mock.calls.findIndex(([, delayMs]) => delayMs === 60_000);
    expect(cleared).toHaveBeenCalledWith(set.mock.results[deadline]?.value);
  });

  it("is one for all attempts, and each is told what is left of it", async () => {
    const slowlyUnavailable = async () => {
      await new Promise((resolve) => setTimeout(resolve, 150));
      throw foreignError();
    };
    first.script.processMessage = slowlyUnavailable;
    second.script.processMessage = async (message, { signal }) => {
      await untilAborted(signal);
      return message;
    };
    const edge = await createEdgeHarness({
      BACKEND_URLS: `${first.url},${second.url}`,
      REQUEST_TIMEOUT_MS: "400",
    });
    const startedAtMs = Date.now();
    const answer = await edge.post(HELLO);
    const durationMs = Date.now() - startedAtMs;
    expect(answer.status).toBe(504);
    expect(((await answer.json()) as ErrorAnswer).error.code).toBe("deadline_exceeded");
    expect(durationMs).toBeGreaterThanOrEqual(390);
    expect(durationMs).toBeLessThan(600);
    expect(first.calls[0]?.timeoutMs).toBeLessThanOrEqual(400);
    expect(second.calls[0]?.timeoutMs).toBeLessThanOrEqual(250);
  });

  it("can be lowered by the caller, not raised", async () => {
    const edge = await createEdgeHarness({ BACKEND_URLS: first.url, REQUEST_TIMEOUT_MS: "5000" });
    for (const timeout of ["700", "60000"]) {
      await edge.post(HELLO, { headers: { "parley-timeout-ms": timeout } });
    }
    const [lowered, raised] = first.calls.map(({ timeoutMs }) => timeoutMs ?? 0);
    expect(lowered).toBeGreaterThan(500);
    expect(lowered).toBeLessThanOrEqual(700);
    expect(raised).toBeGreaterThan(4000);
    expect(raised).toBeLessThanOrEqual(5000);
  });

  it("is not waited for when the next attempt could not begin before it", async () => {
    failTimes(first, 1, () =>
      toConnectError(new ParleyError("unavailable", "draining", { retryAfterMs: 9_000 }), "r"),
    );
    const edge = await createEdgeHarness({ BACKEND_URLS: first.url, REQUEST_TIMEOUT_MS: "5000" });
    const startedAtMs = Date.now();
    const answer = await edge.post(HELLO);
    expect(answer.status).toBe(503);
    expect(answer.headers.get("retry-after")).toBe("9");
    expect(Date.now() - startedAtMs).toBeLessThan(1000);
  });
});
