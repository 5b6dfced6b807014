/** The stores of conversations: the contract on both, and what only one of them can show. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { MemoryConversationStore } from "../../../backend/stores/memory-conversation-store.ts";
import { RedisConnection } from "../../../backend/stores/redis-connection.ts";
import { RedisConversationStore } from "../../../backend/stores/redis-conversation-store.ts";
import { startRedis, type TestRedis } from "../../support/redis.ts";
import { requirement } from "../../support/requirements.ts";
import { conversationStoreContract, exchange, newKey } from "./conversation-store.contract.ts";

const create = { create: true };

describe("conversations in memory", () => {
  const store = new MemoryConversationStore();
  conversationStoreContract(() => store);

  it("are forgotten whole, the least recently used first, over either bound", async () => {
    const small = new MemoryConversationStore({ conversationsMax: 2, charactersMax: 100 });
    const [first, second, third] = [newKey(), newKey(), newKey()];
    await small.append(first, exchange("a"), create);
    await small.append(second, exchange("a"), create);
    await small.open(first, "t");
    await small.append(third, exchange("a"), create);
    expect(await small.read(second)).toBeUndefined();
    expect((await small.read(first))?.exchanges).toHaveLength(1);
    await small.append(third, exchange("b", 0, 60), create);
    expect(await small.read(first)).toBeUndefined();
    expect((await small.read(third))?.exchanges).toHaveLength(2);
  });
});

describe.skipIf(!requirement("redis").available)("conversations in Redis", () => {
  let server: TestRedis;
  let redis: RedisConnection;
  beforeAll(async () => {
    server = await startRedis();
    redis = new RedisConnection({
      url: server.url,
      name: "parley-test",
      random: Math.random,
      onEvent: () => {},
    });
    await redis.ready(AbortSignal.timeout(10_000));
  });
  afterAll(async () => {
    redis?.close();
    await server?.stop();
  });
  const store = () => new RedisConversationStore(redis);
  conversationStoreContract(store);

  const keysOf = (contextId: string) => redis.run((commands) => commands.keys(`*${contextId}*`));

  it("have three keys that begin with the tenant, are on one node and expire together", async () => {
    const key = newKey();
    await new RedisConversationStore(redis, 60_000).append(key, exchange("a"), create);
    const keys = await keysOf(key.contextId);
    expect(keys.toSorted()).toEqual(
      ["exchanges", "ids", "meta"].map((name) => `{acme:context:${key.contextId}}:${name}`),
    );
    const left = await Promise.all(keys.map((name) => redis.run((commands) => commands.pttl(name))));
    for (const leftMs of left) expect(leftMs).toBeGreaterThan(50_000);
    await store().open(key, "t");
    const later = await Promise.all(keys.map((name) => redis.run((commands) => commands.pttl(name))));
    for (const leftMs of later) expect(leftMs).toBeGreaterThan(23 * 3_600_000);
  });

  it.each(["exchanges", "ids", "meta"])(
    "are missing, not short, once Redis has evicted their %s",
    async (part) => {
      const key = newKey();
      await store().append(key, exchange("a"), create);
      await redis.run((commands) => commands.del(`{acme:context:${key.contextId}}:${part}`));
      expect(await store().read(key)).toBeUndefined();
      expect((await store().append(key, exchange("b"), { create: false })).status).toBe("missing");
      expect((await store().append(key, exchange("b"), create)).tokens).toBe(5);
    },
  );

  it("cannot be read as a conversation when they are something else", async () => {
    const key = newKey();
    await store().append(key, exchange("a"), create);
    await redis.run((commands) => commands.lset(`{acme:context:${key.contextId}}:exchanges`, 0, "1 1 {"));
    await expect(store().read(key)).rejects.toMatchObject({ code: "unavailable" });
  });
});
