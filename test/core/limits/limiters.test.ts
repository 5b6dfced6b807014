import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { MemoryLimiter } from "../../../core/limits/memory-limiter.ts";
import { UpstashLimiter } from "../../../core/limits/upstash-limiter.ts";
import { startRedis, type TestRedis } from "../../support/redis.ts";
import { requirement } from "../../support/requirements.ts";
import { startUpstashEndpoint, type UpstashEndpoint } from "../../support/upstash-endpoint.ts";
import { callOn, describeLimiter } from "./limiter.contract.ts";

const memory = new MemoryLimiter(Date.now);
describeLimiter("in memory", () => memory);

describe.skipIf(!requirement("redis").available)("Upstash in front of a real Redis", () => {
  let redis: TestRedis;
  let endpoint: UpstashEndpoint;
  let limiter: UpstashLimiter;

  beforeAll(async () => {
    redis = await startRedis();
    endpoint = await startUpstashEndpoint(redis.url);
    limiter = new UpstashLimiter({ url: endpoint.url, token: endpoint.token, now: Date.now });
  });
  afterAll(async () => {
    await endpoint?.stop();
    await redis?.stop();
  });

  describeLimiter("on Upstash", () => limiter);

  it("fails, and admits nothing, when the token is wrong", async () => {
    const wrong = new UpstashLimiter({ url: endpoint.url, token: "another", now: Date.now });
    await expect(wrong.takeRequest(callOn(10))).rejects.toThrow(/WRONGPASS/);
  });

  it("fails in time, and admits nothing, when Redis does not answer", async () => {
    redis.process.kill("SIGSTOP");
    const startedAtMs = performance.now();
    try {
      await expect(limiter.takeRequest(callOn(10))).rejects.toThrow();
      await expect(limiter.reserveTokens(callOn(10), 1)).rejects.toThrow();
    } finally {
      redis.process.kill("SIGCONT");
    }
    expect(performance.now() - startedAtMs).toBeLessThan(3_000);
    expect(await limiter.takeRequest(callOn(10))).toMatchObject({ admitted: true, decidedBy: "upstash" });
  });
});
