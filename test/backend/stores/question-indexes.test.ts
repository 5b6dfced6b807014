/** The indexes of answered questions: what both promise, and what each does at its limits. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CLOSE_MAX, QUESTIONS_MAX, type QuestionIndex } from "../../../backend/agents/question-index.ts";
import { AGENTS_MAX, MemoryQuestionIndex } from "../../../backend/stores/memory-question-index.ts";
import { RedisConnection } from "../../../backend/stores/redis-connection.ts";
import { RedisQuestionIndex } from "../../../backend/stores/redis-question-index.ts";
import { startRedis, type TestRedis } from "../../support/redis.ts";
import { requirement } from "../../support/requirements.ts";

const newOwner = (tenantId = "acme") => ({ tenantId, agentId: `a-${crypto.randomUUID()}` });
/** A vector of length 1, at this angle. */
const at = (angle: number) => Float32Array.from([Math.cos(angle), Math.sin(angle)]);
const questionAt = (angle: number, hash = `h${angle}`, scope = "s") => ({ scope, hash, vector: at(angle) });
const probeAt = (angle: number, threshold = 0.9, scope = "s") => ({ scope, vector: at(angle), threshold });
const hashes = (close: readonly { hash: string }[]) => close.map(({ hash }) => hash);

function questionIndexContract(index: () => QuestionIndex): void {
  it("finds the nearest questions, the nearest first, with their cosine", async () => {
    const owner = newOwner();
    for (const angle of [0.3, 0.1, 0.2, 0.25, 1]) await index().add(owner, questionAt(angle), 60_000);
    const close = await index().closest(owner, probeAt(0));
    expect(hashes(close)).toEqual(["h0.1", "h0.2", "h0.25"]);
    expect(close).toHaveLength(CLOSE_MAX);
    expect(close[0]?.similarity).toBeCloseTo(Math.cos(0.1), 3);
  });

  it("takes a question for like itself, however high the threshold", async () => {
    const owner = newOwner();
    const vector = Float32Array.from([0.1, 0.2, 0.3].map((number) => number / Math.sqrt(0.14)));
    await index().add(owner, { scope: "s", hash: "h", vector }, 60_000);
    expect(await index().closest(owner, { scope: "s", vector, threshold: 1 })).toEqual([
      { hash: "h", similarity: 1 },
    ]);
  });

  it("compares only within one tenant, agent, scope and length of vectors", async () => {
    const owner = newOwner();
    await index().add(owner, questionAt(0), 60_000);
    const foreign = [{ ...owner, tenantId: "umbrella" }, newOwner()];
    for (const each of foreign) expect(await index().closest(each, probeAt(0))).toEqual([]);
    expect(await index().closest(owner, probeAt(0, 0.9, "other"))).toEqual([]);
    const longer = { scope: "s", vector: Float32Array.from([1, 0, 0]), threshold: 0.9 };
    expect(await index().closest(owner, longer)).toEqual([]);
  });

  it("keeps an agent's newest questions, and one of a hash", async () => {
    const owner = newOwner();
    const first = questionAt(0, "first");
    await index().add(owner, first, 60_000);
    for (let number = 0; number < QUESTIONS_MAX - 1; number++) {
      await index().add(owner, questionAt(1, `h${number}`), 60_000);
    }
    expect(hashes(await index().closest(owner, probeAt(0)))).toEqual(["first"]);
    await index().add(owner, questionAt(1, "h0"), 60_000);
    await index().add(owner, questionAt(1, "one more"), 60_000);
    expect(await index().closest(owner, probeAt(0))).toEqual([]);
  });
}

describe("questions in memory", () => {
  const index = new MemoryQuestionIndex();
  questionIndexContract(() => index);

  it("are those of the agents that were asked last", async () => {
    const small = new MemoryQuestionIndex();
    const owners = Array.from({ length: AGENTS_MAX + 1 }, () => newOwner());
    for (const owner of owners) await small.add(owner, questionAt(0));
    const kept = await Promise.all(owners.map((owner) => small.closest(owner, probeAt(0))));
    expect(kept.map((close) => close.length)).toEqual([0, ...owners.slice(1).map(() => 1)]);
  });
});

describe.skipIf(!requirement("redis").available)("questions in Redis", () => {
  let server: TestRedis;
  let redis: RedisConnection;
  beforeAll(async () => {
    server = await startRedis();
    redis = new RedisConnection({ url: server.url, name: "t", random: Math.random, onEvent: () => {} });
    await redis.ready(AbortSignal.timeout(10_000));
  });
  afterAll(async () => {
    redis?.close();
    await server?.stop();
  });
  const shared: { index?: RedisQuestionIndex } = {};
  questionIndexContract(() => {
    shared.index ??= new RedisQuestionIndex(redis);
    return shared.index;
  });

  it("are every backend's, also those that came while a backend was looking", async () => {
    const owner = newOwner();
    const [one, other] = [new RedisQuestionIndex(redis), new RedisQuestionIndex(redis)];
    expect(await other.closest(owner, probeAt(0))).toEqual([]);
    await one.add(owner, questionAt(0.1), 60_000);
    expect(hashes(await other.closest(owner, probeAt(0)))).toEqual(["h0.1"]);
    await one.add(owner, questionAt(0.05), 60_000);
    expect(hashes(await other.closest(owner, probeAt(0)))).toEqual(["h0.05", "h0.1"]);
  });

  it("have a key that begins with the tenant, is bounded and expires", async () => {
    const owner = newOwner();
    const index = new RedisQuestionIndex(redis);
    for (let number = 0; number < QUESTIONS_MAX + 5; number++) {
      await index.add(owner, questionAt(0, `h${number}`), 60_000);
    }
    const name = `acme:questions:${owner.agentId}`;
    expect(await redis.run((commands) => commands.xlen(name))).toBe(QUESTIONS_MAX);
    const leftMs = await redis.run((commands) => commands.pttl(name));
    expect(leftMs).toBeGreaterThan(50_000);
    expect(leftMs).toBeLessThanOrEqual(60_000);
  });

  it("that are no questions are passed over", async () => {
    const owner = newOwner();
    const index = new RedisQuestionIndex(redis);
    const name = `acme:questions:${owner.agentId}`;
    await redis.run((commands) => commands.xadd(name, "*", "scope", "s", "hash", "h", "vector", "AAA="));
    await redis.run((commands) => commands.xadd(name, "*", "what", "else"));
    await index.add(owner, questionAt(0), 60_000);
    expect(hashes(await index.closest(owner, probeAt(0)))).toEqual(["h0"]);
  });

  it("are none, soon and without an error, while Redis stands still", async () => {
    const owner = newOwner();
    const index = new RedisQuestionIndex(redis);
    await index.add(owner, questionAt(0), 60_000);
    server.process.kill("SIGSTOP");
    expect(await index.closest(owner, probeAt(0))).toEqual([]);
    await index.add(owner, questionAt(0.1), 60_000);
    server.process.kill("SIGCONT");
    await redis.ready(AbortSignal.timeout(10_000));
    expect(hashes(await index.closest(owner, probeAt(0)))).toContain("h0");
  });
});
