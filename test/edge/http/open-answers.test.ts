/** How long an answer that stays open may outlive the credential that asked for it: every kind of answer, to its end. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import type { ApiKeyRecord } from "../../../core/directory/directory.ts";
import { createEdgeHarness, type EdgeHarness, eventually } from "../support/edge-harness.ts";
import {
  answerTo,
  type RecordedCall,
  replyTo,
  type ScriptedBackend,
  startScriptedBackend,
} from "../support/scripted-backend.ts";

const SECOND_MS = 1_000;
const LONG_REQUEST_MS = 600_000;

let backend: ScriptedBackend;
let edge: EdgeHarness;
let release: () => void;

beforeAll(async () => {
  backend = await startScriptedBackend();
});
afterAll(() => backend.stop());
beforeEach(async () => {
  // Time-outs are not faked: connections need them.
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
  const env = { BACKEND_URLS: backend.url, REQUEST_TIMEOUT_MS: String(LONG_REQUEST_MS) };
  edge = await createEdgeHarness(env, { cached: true });
  backend.calls.length = 0;
  const gate = Promise.withResolvers<void>();
  release = gate.resolve;
  backend.script.processMessage = async (message) => {
    await gate.promise;
    return replyTo(message, "too late");
  };
  backend.script.streamReply = async function* (message) {
    yield answerTo(message, { sequence: 1, body: { case: "accepted", value: {} as never } });
    yield answerTo(message, { sequence: 2, body: { case: "delta", value: "hel" } });
    await gate.promise;
    yield { ...replyTo(message, "too late"), sequence: 3 };
  };
  backend.script.resumeReply = async function* () {
    yield answerTo(replyTo({} as never, ""), { sequence: 1, body: { case: "delta", value: "hel" } });
    await gate.promise;
  };
});
afterEach(() => {
  release();
  vi.useRealTimers();
});

function change(fields: Partial<ApiKeyRecord>): void {
  for (const [id, record] of edge.directory.keys) edge.directory.keys.set(id, { ...record, ...fields });
}

/** Lets the time pass, second by second, with the pauses that look-ups take. */
async function pass(seconds: number): Promise<void> {
  for (let i = 0; i < seconds; i++) {
    edge.clock.aheadMs += SECOND_MS;
    vi.advanceTimersByTime(SECOND_MS);
    if (i % 5 === 4) await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

const HELLO = { receiverId: "assistant", text: "hello", messageId: "m-1" };
const ask = (headers: Record<string, string> = {}) => edge.post(HELLO, { headers });
const complete = (stream: boolean) =>
  edge.request("/v1/chat/completions", {
    method: "POST",
    body: JSON.stringify({ model: "assistant", messages: [{ role: "user", content: "hello" }], stream }),
    headers: { authorization: `Bearer ${edge.apiKey}`, "content-type": "application/json" },
  });
const follow = () =>
  edge.request("/api/v1/a2a/tasks/task-1/events", { headers: { authorization: `Bearer ${edge.apiKey}` } });
const isAnswering = (method: RecordedCall["method"]) => () =>
  backend.calls.some((call) => call.method === method);

describe("an answer that stays open", () => {
  it.each([
    [
      "server-sent events",
      () => ask({ accept: "text/event-stream" }),
      /\nevent: error\ndata: .*"code":"unauthenticated"/,
    ],
    ["the events of a task", follow, /\nevent: error\ndata: .*"code":"unauthenticated"/],
    ["a streamed completion", () => complete(true), /\ndata: .*"code":"invalid_api_key"/],
  ])("(%s) ends with an error within 60 s of the revocation of its key", async (_, open, error) => {
    const answer = await open();
    expect(answer.status).toBe(200);
    const text = answer.text();
    let ended = false;
    void text.then(() => {
      ended = true;
    });
    await pass(100);
    expect(ended).toBe(false);
    change({ revokedAtMs: Date.now() + edge.clock.aheadMs });
    await pass(59);
    await eventually(() => ended);
    expect(await text).toMatch(error);
    expect(await text).not.toContain("too late");
    expect(edge.lines.at(-1)).toMatchObject({ authFailure: "revoked", code: "unauthenticated" });
  });

  it.each([
    ["a reply", () => ask()],
    ["a completion", () => complete(false)],
  ])("(%s) is a 401 when its key is revoked before it comes", async (_, open) => {
    const answer = open();
    await eventually(isAnswering("processMessage"));
    change({ revokedAtMs: Date.now() + edge.clock.aheadMs });
    await pass(59);
    expect((await answer).status).toBe(401);
  });

  it("ends within 60 s also where others with the same key are open and look it up at the same moment", async () => {
    const answers = await Promise.all(Array.from({ length: 4 }, () => ask({ accept: "text/event-stream" })));
    let ended = 0;
    for (const answer of answers) void answer.text().then(() => ended++);
    change({ revokedAtMs: Date.now() + edge.clock.aheadMs });
    await pass(59);
    await eventually(() => ended === answers.length);
  });

  it("ends when its credential expires", async () => {
    change({ expiresAtMs: Date.now() + 100 * SECOND_MS });
    const text = (await ask({ accept: "text/event-stream" })).text();
    await pass(121);
    expect(await text).toContain('"code":"unauthenticated"');
  });

  it("goes on while the directory cannot be asked, and asks it no more than once in 10 s", async () => {
    const text = (await ask({ accept: "text/event-stream" })).text();
    edge.directory.lookups.length = 0;
    edge.directory.failing = true;
    await pass(120);
    expect(edge.directory.lookups.length).toBeGreaterThan(0);
    expect(edge.directory.lookups.length).toBeLessThanOrEqual(12);
    release();
    expect(await text).toContain("too late");
  });

  it("leaves nothing running once it has ended", async () => {
    release();
    await (await ask({ accept: "text/event-stream" })).text();
    await (await ask()).text();
    expect(vi.getTimerCount()).toBe(0);
  });
});
