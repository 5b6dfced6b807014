/** A message that is sent again gets the task that it has: it costs its caller once, by a real backend's word. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { AgentRunner } from "../../../backend/agents/agent-runner.ts";
import { textContent } from "../../../core/messages/envelope.ts";
import { BACKEND_TOKEN_SECRET, startBackend } from "../../backend/rpc/backend-fixture.ts";
import { ann, createEngine } from "../../backend/tasks/engine-fixture.ts";
import { createEdgeHarness, type EdgeHarness } from "../support/edge-harness.ts";

const LIMIT = 2_000;
const COST = 300;
/** "hi" and an answer of middling length. */
const ESTIMATE = 257;
/** More than the limit, if each were charged. */
const TIMES = 8;

let backend: Awaited<ReturnType<typeof startBackend>>;
let edge: EdgeHarness;
let key: string;
let isFailing: boolean;
/** Whether it says something, takes it back and, once the gate opens, says something else. */
let isRestarting: boolean;
let gate: PromiseWithResolvers<void>;
let runs: number;

const agent: AgentRunner = {
  async *answer({ onAttempt }, signal) {
    runs += 1;
    const usage = { inputTokens: COST, outputTokens: 0 };
    onAttempt({ model: "openai/small", outcome: isFailing ? "garbled" : "answered", usage } as never);
    if (isFailing) throw new Error("no");
    if (isRestarting) {
      yield { type: "text-delta", text: "wrong" };
      yield { type: "restart", reason: "truncated" };
      await Promise.race([
        gate.promise,
        new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason))),
      ]);
      yield { type: "text-delta", text: "right" };
    }
    const parts = isRestarting ? textContent("right").parts : [];
    yield { type: "finish", parts, metadata: { usage }, record: { model: "openai/small" } };
  },
};

beforeEach(async () => {
  [isFailing, isRestarting, runs] = [false, false, 0];
  gate = Promise.withResolvers();
  backend = await startBackend(createEngine(agent));
  edge = await createEdgeHarness({ BACKEND_URLS: backend.baseUrl, BACKEND_TOKEN_SECRET });
  edge.directory.addAgent("scripted", { kind: "echo" }, ann.tenantId);
  key = await edge.directory.addKey({
    ...ann,
    limits: { requestsPerMinute: 1_000, tokensPerMinute: LIMIT },
  });
});
afterEach(() => backend.stop());

async function ask(messageId: string, headers: Record<string, string> = {}) {
  const answer = await edge.post(
    { receiverId: "scripted", text: "hi", messageId },
    { headers: { authorization: `Bearer ${key}`, ...headers } },
  );
  return { status: answer.status, text: await answer.text(), left: tokensLeft(answer) };
}

function complete(idempotencyKey: string, stream: boolean) {
  return edge.request("/v1/chat/completions", {
    method: "POST",
    body: JSON.stringify({ model: "scripted", messages: [{ role: "user", content: "hi" }], stream }),
    headers: {
      ...{ authorization: `Bearer ${key}`, "content-type": "application/json" },
      "idempotency-key": idempotencyKey,
    },
  });
}

/** Of the key's budget, while the request's own estimate is set aside. */
function tokensLeft(answer: Response): number {
  return Number(/"tokens";r=(\d+)/.exec(answer.headers.get("ratelimit") ?? "")?.[1]);
}

describe("a message that is sent again", () => {
  it.each<[string, Record<string, string>]>([
    ["as JSON", {}],
    ["as events", { accept: "text/event-stream" }],
    ["to be answered later", { prefer: "respond-async" }],
  ])("costs once (%s)", async (_, headers) => {
    const first = await ask("m-1", headers);
    for (let i = 0; i < TIMES; i++) {
      expect(await ask("m-1", headers)).toMatchObject({ status: first.status });
    }
    expect(runs).toBe(1);
    const { left } = await ask("m-2");
    expect(left).toBeGreaterThanOrEqual(LIMIT - COST - ESTIMATE);
  });

  it.each([false, true])(
    "costs once as a completion with an Idempotency-Key (stream: %s)",
    async (stream) => {
      for (let i = 0; i < TIMES; i++) {
        const answer = await complete("m-1", stream);
        expect(answer.status).toBe(200);
        await answer.text();
      }
      expect(runs).toBe(1);
      expect((await ask("m-2")).left).toBeGreaterThanOrEqual(LIMIT - COST - ESTIMATE);
    },
  );

  it.each<[string, Record<string, string>]>([
    ["as JSON", {}],
    ["as events", { accept: "text/event-stream" }],
  ])("costs once when its task has failed (%s)", async (_, headers) => {
    isFailing = true;
    for (let i = 0; i < TIMES; i++) expect((await ask("m-1", headers)).text).toContain('"code":"internal"');
    expect(runs).toBe(1);
    expect((await ask("m-2")).left).toBeGreaterThanOrEqual(LIMIT - COST - ESTIMATE);
  });

  it("costs nothing at the edge when it came to the backend's own port first, which charges it there", async () => {
    const { headers } = backend;
    await backend
      .agents()
      .processMessage({ receiverId: "scripted", text: "hi", messageId: "m-1" }, { headers });
    for (let i = 0; i < TIMES; i++) expect((await ask("m-1")).status).toBe(200);
    expect(runs).toBe(1);
    expect((await ask("m-2")).left).toBeGreaterThanOrEqual(LIMIT - ESTIMATE);
  });

  it("is charged as often as its message id is new, and for the request that comes again by itself", async () => {
    const headers = { "x-request-id": "one-and-the-same" };
    await ask("m-1", headers);
    await ask("m-2", headers);
    await ask("m-2", headers);
    const { left } = await ask("m-3");
    // 33 tokens refill in a second; what was charged twice would be back after ten.
    expect(left).toBeLessThan(LIMIT - 2 * COST - ESTIMATE);
  });
});

describe("a completion that started again in the middle of its live stream", () => {
  it("is there whole for who asks again with its key, which does not run it again", async () => {
    isRestarting = true;
    expect(await (await complete("key-1", true)).text()).toContain("stream_restarted");
    gate.resolve();
    for (let i = 0; i < 2; i++) {
      const text = await (await complete("key-1", true)).text();
      expect(text).toContain('"content":"right"');
      expect(text).not.toContain("wrong");
      expect(text).toMatch(/data: \[DONE\]\n\n$/);
    }
    expect(await (await complete("key-1", false)).json()).toMatchObject({
      choices: [{ message: { content: "right" }, finish_reason: "stop" }],
    });
    expect(runs).toBe(1);
  });
});
