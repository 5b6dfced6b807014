/** The caches of answers: what both promise, and what each does at its limits. */
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  ANSWER_CHARACTERS_MAX,
  type AnswerCache,
  type CachedAnswer,
} from "../../../backend/agents/answer-cache.ts";
import { MemoryAnswerCache } from "../../../backend/stores/memory-answer-cache.ts";
import { RedisAnswerCache } from "../../../backend/stores/redis-answer-cache.ts";
import { RedisConnection } from "../../../backend/stores/redis-connection.ts";
import { startRedis, type TestRedis } from "../../support/redis.ts";
import { requirement } from "../../support/requirements.ts";

const answerOf = (text: string): CachedAnswer => ({
  parts: [{ text }],
  metadata: { model: "m" },
  model: "m",
});
const newKey = (tenantId = "acme") => ({ tenantId, hash: crypto.randomUUID() });

function answerCacheContract(cache: () => AnswerCache): void {
  it("gives back what was put, to the same tenant only, and the newest of two", async () => {
    const key = newKey();
    expect(await cache().get(key)).toBeUndefined();
    await cache().put(key, answerOf("old"), 60_000);
    await cache().put(key, answerOf("Grüße 网关 🎉"), 60_000);
    expect(await cache().get(key)).toEqual(answerOf("Grüße 网关 🎉"));
    expect(await cache().get({ ...key, tenantId: "umbrella" })).toBeUndefined();
  });

  it("keeps no answer that is too long, however often it is asked for", async () => {
    const key = newKey();
    await cache().put(key, answerOf("x".repeat(ANSWER_CHARACTERS_MAX)), 60_000);
    expect(await cache().get(key)).toBeUndefined();
  });
}

describe("answers in memory", () => {
  let nowMs = 0;
  const cache = new MemoryAnswerCache(() => nowMs);
  answerCacheContract(() => cache);

  it("are forgotten when their time is over", async () => {
    const key = newKey();
    await cache.put(key, answerOf("a"), 1_000);
    nowMs += 999;
    expect(await cache.get(key)).toEqual(answerOf("a"));
    nowMs += 1;
    expect(await cache.get(key)).toBeUndefined();
  });

  it("are bounded in number and in size, the least recently used out first", async () => {
    for (const text of ["a", "x".repeat(200_000)]) {
      const small = new MemoryAnswerCache(() => 0);
      const keys = Array.from({ length: 2_001 }, () => newKey());
      const [first, second] = keys;
      for (const [index, key] of keys.entries()) {
        if (index === 2_000 && first) await small.get(first);
        await small.put(key, answerOf(text), 1_000);
      }
      const found = await Promise.all(keys.map((key) => small.get(key)));
      const count = found.filter((answer) => answer !== undefined).length;
      expect(count).toBe(
        text === "a" ? 2_000 : Math.floor((8 * 1024 * 1024) / JSON.stringify(answerOf(text)).length),
      );
      if (text === "a" && first && second)
        expect([found[0] !== undefined, found[1]]).toEqual([true, undefined]);
    }
  });
});

describe.skipIf(!requirement("redis").available)("answers in Redis", () => {
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
  answerCacheContract(() => new RedisAnswerCache(redis));

  it("have a key that begins with the tenant, and expire", async () => {
    const key = newKey();
    await new RedisAnswerCache(redis).put(key, answerOf("a"), 60_000);
    const leftMs = await redis.run((commands) => commands.pttl(`acme:answer:${key.hash}`));
    expect(leftMs).toBeGreaterThan(50_000);
    expect(leftMs).toBeLessThanOrEqual(60_000);
  });

  it("are none, soon and without an error, while Redis stands still", async () => {
    const key = newKey();
    const cache = new RedisAnswerCache(redis);
    await cache.put(key, answerOf("a"), 60_000);
    server.process.kill("SIGSTOP");
    expect(await cache.get(key)).toBeUndefined();
    await cache.put(newKey(), answerOf("b"), 60_000);
    server.process.kill("SIGCONT");
    await redis.ready(AbortSignal.timeout(10_000));
    await sleep(10);
    expect(await cache.get(key)).toEqual(answerOf("a"));
  });
});
