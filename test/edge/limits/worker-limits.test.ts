/** Limits on the Worker as it is deployed, in workerd: on its Durable Objects, and on Upstash with a real Redis. */
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { toConnectError } from "../../../core/errors/connect-errors.ts";
import { ParleyError } from "../../../core/errors/parley-error.ts";
import type { TenantLimits } from "../../../core/limits/limits.ts";
import type { A2AMessage } from "../../../proto/gen/parley/v1/agent_service_pb.js";
import type { WorkerBundle } from "../../../scripts/wrangler.ts";
import { startRedis, type TestRedis } from "../../support/redis.ts";
import { requirement } from "../../support/requirements.ts";
import { startUpstashEndpoint, type UpstashEndpoint } from "../../support/upstash-endpoint.ts";
import { withinAMinute } from "../../support/within-a-minute.ts";
import { buildDeployedWorker, type RunningWorkerd, startWorkerd } from "../../support/workerd.ts";
import { type ErrorAnswer, eventually, TEST_ENV } from "../support/edge-harness.ts";
import { type FakeNeon, startFakeNeon } from "../support/fake-neon.ts";
import {
  answerTo,
  replyTo,
  type ScriptedBackend,
  startScriptedBackend,
} from "../support/scripted-backend.ts";

const PARALLEL = 50;
/** Settling goes on after the answer; it takes a few milliseconds. */
const SETTLED_MS = 100;
/** workerd's output comes a moment later, on a busy machine seconds. */
const LOGGED_MS = 10_000;
/** An object writes its counts a moment after they change. */
const WRITTEN_MS = 2_500;
/** What every scripted reply says that it has cost. */
const USAGE = { inputTokens: 40, outputTokens: 60 };
/** "hello" and an answer of middling length. */
const ESTIMATE = 258;

let directory: string;
let bundle: WorkerBundle;
let backend: ScriptedBackend;
let neon: FakeNeon;
let redis: TestRedis | undefined;
let upstash: UpstashEndpoint | undefined;
const workers = new Map<string, RunningWorkerd>();
const table: Record<string, string | number>[] = [];

const hasRedis = requirement("redis").available;
const LIMITERS = ["durable-object", ...(hasRedis ? ["upstash"] : [])];

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "parley-limits-"));
  [bundle, backend, neon] = await Promise.all([
    buildDeployedWorker(directory),
    startScriptedBackend(),
    startFakeNeon(),
  ]);
  const variables = { ...TEST_ENV, BACKEND_URLS: backend.url, DATABASE_ENDPOINT: neon.url };
  workers.set("durable-object", await startWorkerd({ modulePath: bundle.path, bindings: variables }));
  if (!hasRedis) return;
  redis = await startRedis();
  upstash = await startUpstashEndpoint(redis.url);
  const bindings = {
    ...variables,
    UPSTASH_REDIS_REST_URL: upstash.url,
    UPSTASH_REDIS_REST_TOKEN: upstash.token,
  };
  workers.set("upstash", await startWorkerd({ modulePath: bundle.path, bindings }));
}, 60_000);
afterAll(async () => {
  if (table.length > 0) console.table(table);
  await Promise.all([...workers.values()].map((worker) => worker.stop()));
  await Promise.all([backend?.stop(), neon?.stop(), upstash?.stop(), redis?.stop()]);
  await rm(directory, { recursive: true });
});
beforeEach(async () => {
  await withinAMinute(2_000);
  backend.calls.length = 0;
  backend.script.processMessage = (message) => ({
    ...replyTo(message, "hello back"),
    metadata: { model: "openai/small", usage: { ...USAGE } },
  });
});

function workerOf(limiter: string): RunningWorkerd {
  const worker = workers.get(limiter);
  if (!worker) throw new Error(`no worker with the limiter ${limiter}`);
  return worker;
}

function post(limiter: string, apiKey: string, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(`${workerOf(limiter).url}/api/v1/a2a/message`, {
    method: "POST",
    body: JSON.stringify({ receiverId: "assistant", text: "hello" }),
    headers: { authorization: `Bearer ${apiKey}`, "content-type": "application/json", ...headers },
  });
}

async function keyWith(limits: TenantLimits) {
  return neon.addKey(limits, crypto.randomUUID());
}

function logLines(limiter: string): Record<string, unknown>[] {
  return workerOf(limiter)
    .logs.filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line));
}

/** Tokens left in the key's budget, as an answer says once all before are settled; asking costs {@link USAGE}. */
async function tokensLeft(limiter: string, apiKey: string): Promise<number> {
  await new Promise((resolve) => setTimeout(resolve, SETTLED_MS));
  const answer = await post(limiter, apiKey);
  await answer.text();
  return Number(/"tokens";r=(\d+)/.exec(answer.headers.get("ratelimit") ?? "")?.[1]);
}

/**
 * The statuses of parallel calls, counted. On a busy machine Upstash may be late for some of them: those are the next
 * limiter's, which counts apart, and so each limiter's own admissions are what must keep to the limit. Where two have
 * decided, the first did on the request.
 *
 * @param onRefused told of each refusal as it comes
 */
async function callInParallel(limiter: string, apiKey: string, onRefused = () => {}) {
  const startedAtMs = performance.now();
  const admittedIds: string[] = [];
  const call = async () => {
    const requestId = crypto.randomUUID();
    const answer = await post(limiter, apiKey, { "x-request-id": requestId });
    if (answer.status === 429) onRefused();
    if (answer.status === 200) admittedIds.push(requestId);
    return answer;
  };
  const answers = await Promise.all(Array.from({ length: PARALLEL }, call));
  const durationMs = Math.round(performance.now() - startedAtMs);
  const admitted = answers.filter(({ status }) => status === 200).length;
  const refused = answers.filter(({ status }) => status === 429);
  await Promise.all(answers.map((answer) => answer.clone().text()));
  const deciders = await decidersOf(limiter, admittedIds);
  const most = Math.max(
    ...Array.from(Map.groupBy(deciders, (name) => name).values(), ({ length }) => length),
  );
  return { admitted, refused, durationMs, most };
}

/** Which limiter decided each request, once all are logged. */
async function decidersOf(limiter: string, requestIds: readonly string[]): Promise<unknown[]> {
  const logged = () => new Map(logLines(limiter).map((line) => [line["requestId"], line["limiter"]]));
  const missing = () => {
    const lines = logged();
    return requestIds.filter((id) => !lines.has(id));
  };
  await expect.poll(missing, { timeout: LOGGED_MS }).toEqual([]);
  const lines = logged();
  return requestIds.map((id) => String(lines.get(id)).split(",")[0]);
}

describe.each(LIMITERS)("limits on %s", (limiter) => {
  it("admit 10 of 50 parallel calls against a limit of 10 requests", async () => {
    const { apiKey } = await keyWith({ requestsPerMinute: 10 });
    const { admitted, refused, durationMs, most } = await callInParallel(limiter, apiKey);
    table.push({
      limiter,
      limit: "10 requests",
      calls: PARALLEL,
      admitted,
      refused: refused.length,
      durationMs,
    });
    expect(most).toBeLessThanOrEqual(10);
    expect(admitted).toBeGreaterThanOrEqual(10);
    expect(admitted + refused.length).toBe(PARALLEL);
    expect(backend.calls).toHaveLength(admitted);
    const answer = refused[0] as Response;
    expect(((await answer.json()) as ErrorAnswer).error).toMatchObject({
      ...{ code: "resource_exhausted", reason: "request-limit" },
      details: { limit: 10, windowSeconds: 60 },
    });
    expect(Number(answer.headers.get("retry-after"))).toBeGreaterThanOrEqual(1);
    expect(answer.headers.get("ratelimit-policy")).toBe('"requests";q=10;w=60');
    expect(answer.headers.get("ratelimit")).toMatch(/^"requests";r=0;t=\d+$/);
  });

  it("never have more tokens set aside than a budget of 1,000, whatever 50 parallel calls ask for", async () => {
    const { apiKey } = await keyWith({ tokensPerMinute: 1_000, tenantTokensPerMinute: 100_000 });
    const gate = Promise.withResolvers<void>();
    const startedAtMs = performance.now();
    let [decided, decidedAfterMs] = [0, Number.NaN];
    // No answer gives anything back before all calls are decided.
    const onDecided = () => {
      decided += 1;
      if (decided < PARALLEL) return;
      decidedAfterMs = performance.now() - startedAtMs;
      gate.resolve();
    };
    const { processMessage } = backend.script;
    backend.script.processMessage = async (message, call) => {
      onDecided();
      await gate.promise;
      return processMessage(message, call);
    };
    const { admitted, refused, durationMs, most } = await callInParallel(limiter, apiKey, onDecided);
    table.push({
      limiter,
      limit: "1,000 tokens",
      calls: PARALLEL,
      admitted,
      refused: refused.length,
      durationMs,
    });
    // A busy machine takes its time, in which the bucket refills; a quick one leaves no room for a fourth.
    const refilled = (decidedAfterMs / 60_000) * 1_000;
    expect(admitted).toBeGreaterThanOrEqual(Math.floor(1_000 / ESTIMATE));
    expect(most * ESTIMATE).toBeLessThanOrEqual(1_000 + refilled);
    const answer = refused[0] as Response;
    expect(((await answer.json()) as ErrorAnswer).error).toMatchObject({ reason: "token-limit" });
    expect(answer.headers.get("ratelimit-policy")).toBe(
      '"requests";q=600;w=60, "tokens";q=1000;w=60, "tenant-tokens";q=100000;w=60',
    );
  });

  it("charge what a reply says it has cost, and give the rest back", async () => {
    const { apiKey } = await keyWith({ tokensPerMinute: 600 });
    for (let i = 0; i < 3; i++) await tokensLeft(limiter, apiKey);
    const left = await tokensLeft(limiter, apiKey);
    // Of the last call's own reservation nothing is back yet; 10 tokens refill every second.
    expect(left).toBeGreaterThanOrEqual(600 - 3 * 100 - ESTIMATE);
    expect(left).toBeLessThanOrEqual(600 - 3 * 100 - ESTIMATE + 40);
  });

  it("give everything back when a call fails", async () => {
    const { apiKey } = await keyWith({ tokensPerMinute: 600 });
    backend.script.processMessage = () => {
      throw toConnectError(new ParleyError("failed_precondition", "the agent is not usable"), "request-1");
    };
    // Two reservations fit into the budget.
    for (let i = 0; i < 4; i++) expect((await post(limiter, apiKey)).status).toBe(400);
  });

  it("charge a stream at its end", async () => {
    const { apiKey } = await keyWith({ tokensPerMinute: 600 });
    backend.script.streamReply = async function* (message) {
      yield answerTo(message, { sequence: 1, body: { case: "delta", value: "hel" } });
      yield { ...replyTo(message, "hello"), sequence: 2, metadata: { usage: { inputTokens: 700 } } };
    };
    const answer = await post(limiter, apiKey, { accept: "text/event-stream" });
    expect(await answer.text()).toContain("event: content");
    await new Promise((resolve) => setTimeout(resolve, SETTLED_MS));
    // In debt: at 10 a second, it takes 10 s before anything is there again.
    expect((await post(limiter, apiKey)).status).toBe(429);
  });

  it.each([
    ...(["application/json", "text/event-stream"] as const).flatMap((accept) =>
      (["answered", "failed"] as const).map((end) => [accept, end] as const),
    ),
  ])("charge a caller of %s that leaves what its reply costs in the end (%s)", async (accept, end) => {
    const { apiKey } = await keyWith({ tokensPerMinute: 6_000 });
    const gate = Promise.withResolvers<void>();
    const usage = { inputTokens: 1_000, outputTokens: 2_000 };
    const finish = async (message: A2AMessage) => {
      await gate.promise;
      if (end === "answered") return { ...replyTo(message, "hello"), sequence: 2, metadata: { usage } };
      throw toConnectError(new ParleyError("internal", "no", { details: { usage } }), "request-1");
    };
    backend.script.processMessage = finish;
    backend.script.streamReply = async function* (message) {
      yield answerTo(message, { sequence: 1, body: { case: "accepted", value: {} as never } });
      yield await finish(message);
    };
    const socket = connect(Number(new URL(workerOf(limiter).url).port), "127.0.0.1");
    await once(socket, "connect");
    const body = JSON.stringify({ receiverId: "assistant", text: "hello" });
    const head = [
      ...["POST /api/v1/a2a/message HTTP/1.1", "host: edge", `authorization: Bearer ${apiKey}`],
      ...[`accept: ${accept}`, "content-type: application/json", `content-length: ${body.length}`],
    ];
    socket.write(`${head.join("\r\n")}\r\n\r\n${body}`);
    await eventually(() => backend.calls.length === 1);
    socket.resetAndDestroy();
    await new Promise((resolve) => setTimeout(resolve, 3 * SETTLED_MS));
    expect(backend.calls[0]?.signal.aborted).toBe(false);
    const leftMs = performance.now();
    gate.resolve();
    await new Promise((resolve) => setTimeout(resolve, 3 * SETTLED_MS));
    backend.script.processMessage = (message) => replyTo(message, "hello back");
    const left = await tokensLeft(limiter, apiKey);
    const refilled = ((performance.now() - leftMs + 1_000) / 60_000) * 6_000;
    expect(left).toBeGreaterThanOrEqual(6_000 - 3_000 - ESTIMATE);
    expect(left).toBeLessThanOrEqual(6_000 - 3_000 - ESTIMATE + refilled);
  });

  it("say on every answer what is left, and which limiter it was in the log", async () => {
    const { apiKey } = await keyWith({ requestsPerMinute: 5 });
    const requestId = crypto.randomUUID();
    const answer = await post(limiter, apiKey, { "x-request-id": requestId });
    await answer.text();
    expect(answer.headers.get("ratelimit")).toMatch(/^"requests";r=4;t=\d+, "tokens";r=\d+;t=\d+, "tenant-/);
    const agents = await fetch(`${workerOf(limiter).url}/api/v1/agents`, {
      headers: { authorization: `Bearer ${apiKey}` },
    });
    await agents.text();
    expect(agents.headers.get("ratelimit")).toMatch(/^"requests";r=3;t=\d+$/);
    await eventually(() => logLines(limiter).some((line) => line["requestId"] === requestId));
    expect(logLines(limiter).find((line) => line["requestId"] === requestId)).toMatchObject({ limiter });
  });

  it("refuse a stream in its own form: 429 with Retry-After before the first event", async () => {
    const { apiKey } = await keyWith({ requestsPerMinute: 1 });
    const headers = { accept: "text/event-stream" };
    await (await post(limiter, apiKey, headers)).text();
    const answer = await post(limiter, apiKey, headers);
    expect(answer.status).toBe(429);
    expect(Number(answer.headers.get("retry-after"))).toBeGreaterThanOrEqual(1);
    expect(answer.headers.get("content-type")).toContain("application/json");
    expect(((await answer.json()) as ErrorAnswer).error).toMatchObject({ reason: "request-limit" });
  });

  it("are one tenant's own: another's calls do not count there", async () => {
    const one = await keyWith({ requestsPerMinute: 1, tenantTokensPerMinute: 300 });
    const other = await keyWith({ requestsPerMinute: 1, tenantTokensPerMinute: 300 });
    expect((await post(limiter, one.apiKey)).status).toBe(200);
    expect((await post(limiter, one.apiKey)).status).toBe(429);
    expect((await post(limiter, other.apiKey)).status).toBe(200);
  });
});

describe("counts of Durable Objects", () => {
  it("are there again after a restart", async () => {
    await withinAMinute(2 * WRITTEN_MS);
    const { apiKey } = await keyWith({ requestsPerMinute: 2 });
    const options = {
      modulePath: bundle.path,
      bindings: { ...TEST_ENV, BACKEND_URLS: backend.url, DATABASE_ENDPOINT: neon.url },
      storageDirectory: join(directory, "storage"),
    };
    const statuses: number[] = [];
    for (const { calls, waitMs } of [
      { calls: 2, waitMs: WRITTEN_MS },
      { calls: 1, waitMs: 0 },
    ]) {
      workers.set("restarted", await startWorkerd(options));
      for (let i = 0; i < calls; i++) statuses.push((await post("restarted", apiKey)).status);
      await new Promise((resolve) => setTimeout(resolve, waitMs));
      await workers.get("restarted")?.stop();
    }
    expect(statuses).toEqual([200, 200, 429]);
  });
});

describe.each(LIMITERS)("300 decisions on %s, one after another", (limiter) => {
  it("are made there, and let all of them through below the limit", { timeout: 60_000 }, async () => {
    const { apiKey } = await keyWith({});
    const durations: number[] = [];
    const requestIds: string[] = [];
    for (let i = 0; i < 300; i++) {
      const requestId = crypto.randomUUID();
      const headers = { authorization: `Bearer ${apiKey}`, "x-request-id": requestId };
      const startedAtMs = performance.now();
      const answer = await fetch(`${workerOf(limiter).url}/api/v1/agents`, { headers });
      await answer.text();
      durations.push(performance.now() - startedAtMs);
      expect(answer.status).toBe(200);
      requestIds.push(requestId);
    }
    const p50Ms = durations.toSorted((a, b) => a - b)[150] ?? 0;
    table.push({ limiter, limit: "600 requests, one by one", calls: 300, p50Ms: Number(p50Ms.toFixed(2)) });
    // A call for which Upstash was late is the next limiter's.
    const deciders = await decidersOf(limiter, requestIds);
    expect(deciders.filter((name) => name === limiter).length).toBeGreaterThan(requestIds.length / 2);
  });
});

describe.skipIf(!hasRedis)("the Worker whose Redis behind Upstash stands still", () => {
  const CALLERS = 8;
  const STANDSTILL_MS = 3_000;
  const samples: { atMs: number; durationMs: number; requestId: string; status: number }[] = [];

  async function load(apiKey: string, untilMs: number): Promise<void> {
    while (performance.now() < untilMs) {
      const atMs = performance.now();
      const requestId = crypto.randomUUID();
      const answer = await fetch(`${workerOf("upstash").url}/api/v1/agents`, {
        headers: { authorization: `Bearer ${apiKey}`, "x-request-id": requestId },
      });
      await answer.text();
      samples.push({ atMs, durationMs: performance.now() - atMs, requestId, status: answer.status });
    }
  }

  it("lets Durable Objects decide meanwhile, keeps nobody waiting for long, and goes back", async () => {
    const { apiKey } = await keyWith({ requestsPerMinute: 1_000_000 });
    const startMs = performance.now();
    const phases = {
      before: startMs + 1_000,
      SIGSTOP: startMs + 1_000 + STANDSTILL_MS,
      "after SIGCONT": startMs + 5_000 + STANDSTILL_MS,
    };
    const loads = Array.from({ length: CALLERS }, () => load(apiKey, phases["after SIGCONT"]));
    setTimeout(() => redis?.process.kill("SIGSTOP"), 1_000);
    setTimeout(() => redis?.process.kill("SIGCONT"), 1_000 + STANDSTILL_MS);
    await Promise.all(loads);
    await decidersOf(
      "upstash",
      samples.map(({ requestId }) => requestId),
    );
    const limiterOf = new Map(
      logLines("upstash").map(({ requestId, limiter }) => [String(requestId), String(limiter)]),
    );
    expect(samples.every(({ status }) => status === 200)).toBe(true);

    let fromMs = startMs;
    for (const [phase, untilMs] of Object.entries(phases)) {
      const calls = samples.filter(({ atMs }) => atMs >= fromMs && atMs < untilMs);
      const durations = calls.map(({ durationMs }) => durationMs).toSorted((a, b) => a - b);
      const quantile = (q: number) => Number(durations[Math.floor(q * (durations.length - 1))]?.toFixed(1));
      const count = (name: string) =>
        calls.filter(({ requestId }) => limiterOf.get(requestId) === name).length;
      const row = { phase, calls: calls.length, upstash: count("upstash"), object: count("durable-object") };
      table.push({ ...row, p50Ms: quantile(0.5), p99Ms: quantile(0.99), maxMs: quantile(1) });
      fromMs = untilMs;
    }
    const stopped = table.at(-2) ?? {};
    // Nobody has waited until Redis was back.
    expect(stopped["maxMs"]).toBeLessThan(STANDSTILL_MS);
    expect(stopped["object"]).toBeGreaterThan(Number(stopped["calls"]) / 2);
    expect(table.at(-1)?.["upstash"]).toBeGreaterThan(0);
    const events = logLines("upstash").map(({ msg }) => msg);
    expect(events).toContain("limiter failing");
    expect(events).toContain("limiter recovered");
  });
});
