/** The endpoint by Upstash's own client: what the limiters' tests rely on. */
import { Redis } from "@upstash/redis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startRedis, type TestRedis } from "./redis.ts";
import { requirement } from "./requirements.ts";
import { startUpstashEndpoint, type UpstashEndpoint } from "./upstash-endpoint.ts";

describe.skipIf(!requirement("redis").available)("the Upstash endpoint", () => {
  let redis: TestRedis;
  let endpoint: UpstashEndpoint;
  let client: Redis;

  beforeAll(async () => {
    redis = await startRedis();
    endpoint = await startUpstashEndpoint(redis.url);
    client = new Redis({ url: endpoint.url, token: endpoint.token, enableTelemetry: false });
  });
  afterAll(async () => {
    await endpoint?.stop();
    await redis?.stop();
  });

  it("keeps every character, alone and in a list", async () => {
    const text = 'żółć 漢字 🦢 "quoted" OK';
    await client.set("text", text);
    await client.rpush("list", text, "second");
    expect(await client.get("text")).toBe(text);
    expect(await client.lrange("list", 0, -1)).toEqual([text, "second"]);
    expect(await client.get("nothing")).toBeNull();
  });

  it("runs pipelines, and transactions that take effect together or not at all", async () => {
    expect(await client.pipeline().set("a", 1).incr("a").exec()).toEqual(["OK", 2]);
    expect(await client.multi().incr("a").incr("a").exec()).toEqual([3, 4]);
    const broken = client.multi().incr("a").exec();
    const wrong = fetch(`${endpoint.url}/multi-exec`, {
      method: "POST",
      headers: { authorization: `Bearer ${endpoint.token}` },
      body: JSON.stringify([["INCR", "a"], ["NO-SUCH-COMMAND"]]),
    });
    await broken;
    expect((await wrong).status).toBe(400);
    expect(await client.get("a")).toBe(5);
  });

  it("takes scripts with Upstash's first line, and knows them by the hash they had with it", async () => {
    const script = '#!lua flags=allow-key-locking\nreturn redis.call("INCR", KEYS[1])';
    const upstash = client.createScript<number>(script);
    expect(await upstash.exec(["counter"], [])).toBe(1);
    expect(await upstash.exec(["counter"], [])).toBe(2);
    await expect(client.evalsha("0".repeat(40), [], [])).rejects.toThrow(/NOSCRIPT/);
  });

  it("refuses a wrong token", async () => {
    const stranger = new Redis({ url: endpoint.url, token: "wrong", enableTelemetry: false });
    await expect(stranger.get("text")).rejects.toThrow(/WRONGPASS/);
  });
});
