/** A conversation as its models see it: over a small window, over a restart, and over the loss of Redis. */
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createTokenCounter } from "../../backend/llm/token-counter.ts";
import { type Gateway, startGateway } from "../support/gateway.ts";
import { type OpenaiDouble, startOpenaiDouble } from "../support/openai-double.ts";
import { startRedis, type TestRedis } from "../support/redis.ts";
import { requirement } from "../support/requirements.ts";
import { api, eventually, makeKey } from "./administration-client.ts";
import { ask, type Json } from "./ask.ts";

/** Two starts and sixteen turns; a busy machine takes its time. */
const LIMIT_MS = 240_000;
const WINDOW_TOKENS = 900;
const ANSWER_TOKENS = 100;

type Message = { role: "system" | "user" | "assistant"; content: string };

let provider: OpenaiDouble;
beforeAll(async () => {
  provider = await startOpenaiDouble();
});
afterAll(() => provider.close());

const environment = () => ({ OPENAI_BASE_URL: provider.baseUrl, OPENAI_MODEL: "healthy" });

/** Makes an agent with a window of its own. */
async function addAgent(gateway: Gateway, id: string, config: object, tenantId = "default"): Promise<void> {
  await gateway.database.query(
    `insert into agents (tenant_id, id, name, description, version, config)
     values ($3, $1, $1, '', 1, $2::jsonb)`,
    [id, JSON.stringify({ kind: "model", ...config }), tenantId],
  );
}

/** The conversation that the model was shown with the last question of this text. */
function shownWith(text: string): Message[] {
  const request = provider.requests.findLast(({ body }) => body?.messages?.at(-1)?.content === text);
  return request?.body.messages ?? [];
}

/** Numbers of the questions among them. */
const numbersOf = (messages: Message[]) =>
  messages.flatMap(({ role, content }) =>
    role === "user" ? [Number(/^Turn (\d+)/.exec(content)?.[1])] : [],
  );

/** Asks turn after turn of one context. */
function conversation(receiverId: string) {
  let contextId: string | undefined;
  let number = 0;
  return async (gateway: Gateway) => {
    number += 1;
    const text = `Turn ${number}: what is a gateway, and what has it to do with the number ${number}?`;
    const { status, body } = await ask(gateway, { receiverId, text, ...(contextId ? { contextId } : {}) });
    expect(status, JSON.stringify(body)).toBe(200);
    expect(body.metadata.degraded).toBeUndefined();
    contextId = body.contextId;
    return { number, contextId, shown: shownWith(text), metadata: body.metadata };
  };
}

describe("a conversation over a small window", () => {
  it("goes on within it, with a summary of what is gone, and after a restart", {
    timeout: LIMIT_MS,
  }, async () => {
    const counter = createTokenCounter();
    let gateway = await startGateway({ environment: environment() });
    const link = { provider: "openai", model: "healthy", contextTokens: WINDOW_TOKENS };
    await addAgent(gateway, "small", {
      models: [{ ...link, parameters: { outputTokensMax: ANSWER_TOKENS } }],
      systemPrompt: "Answer in one sentence.",
    });
    const say = conversation("small");

    const expectSensible = async ({ number, shown }: Awaited<ReturnType<typeof say>>) => {
      const counts = await Promise.all(shown.map(({ content }) => counter.count(content)));
      expect(counts.reduce((sum, tokens) => sum + tokens + 4, 3)).toBeLessThanOrEqual(
        WINDOW_TOKENS - ANSWER_TOKENS,
      );
      expect(shown.map(({ role }) => role).join(" ")).toMatch(/^system (user assistant )*user$/);
      expect(shown[0]?.content).toMatch(/^Answer in one sentence\./);
      // The newest, without a hole; never fewer than two.
      const numbers = numbersOf(shown);
      expect(numbers).toEqual(numbers.map((_, index) => number - numbers.length + 1 + index));
      expect(numbers.length).toBeGreaterThanOrEqual(Math.min(number, 3));
    };

    for (let turn = 0; turn < 12; turn++) await expectSensible(await say(gateway));
    await expect
      .poll(() => gateway.logText("backend"), { timeout: 20_000 })
      .toContain("conversation summarised");
    const summarised = await say(gateway);
    await expectSensible(summarised);
    expect(summarised.shown[0]?.content).toContain("What was said earlier");

    await gateway.stop();
    gateway = await startGateway({ environment: environment(), dataDirectory: gateway.dataDirectory });
    const after = await say(gateway);
    await expectSensible(after);
    expect(after.metadata.contextIncomplete).toBeUndefined();
    // Made anew from the log, and summarised anew.
    await say(gateway);
    await expect
      .poll(() => gateway.logText("backend"), { timeout: 20_000 })
      .toContain("conversation summarised");
    const last = await say(gateway);
    await expectSensible(last);
    expect(last.shown[0]?.content).toContain("What was said earlier");
    await gateway.stop();
    gateway.remove();
  });
});

describe.skipIf(!requirement("redis").available)("a conversation in Redis", () => {
  let server: TestRedis;
  let gateway: Gateway;
  beforeAll(async () => {
    server = await startRedis();
    gateway = await startGateway({ environment: { ...environment(), REDIS_URL: server.url } });
  }, LIMIT_MS);
  afterAll(async () => {
    await gateway?.stop();
    gateway?.remove();
    await server?.stop();
  }, LIMIT_MS);

  it("gives an answer again to the same question, marked and at no cost, but not within a conversation", async () => {
    await addAgent(gateway, "repeats", {
      models: [{ provider: "openai", model: "healthy" }],
      cache: { exact: { ttlSeconds: 60 } },
    });
    const question = { receiverId: "repeats", text: `What is ${crypto.randomUUID()}?` };
    const first = await ask(gateway, question);
    const again = await ask(gateway, question);
    expect(first.body.metadata.cached).toBeUndefined();
    expect(again.body.text).toBe(first.body.text);
    expect(again.body.metadata).toMatchObject({
      cached: "exact",
      model: "openai/healthy",
      usage: { inputTokens: 0, outputTokens: 0 },
    });
    expect(
      provider.requests.filter(({ body }) => body?.messages?.at(-1)?.content === question.text),
    ).toHaveLength(1);
    const followed = await ask(gateway, { ...question, contextId: again.body.contextId });
    expect(followed.body.metadata.cached).toBeUndefined();
  });

  it("is whole after Redis was emptied, stood still, or was started again", {
    timeout: LIMIT_MS,
  }, async () => {
    const say = conversation("assistant");
    const expectWhole = async () => {
      const { number, shown, metadata, contextId } = await say(gateway);
      expect(numbersOf(shown)).toEqual(Array.from({ length: number }, (_, index) => index + 1));
      expect(metadata.contextIncomplete).toBeUndefined();
      return contextId;
    };
    const redis = new Redis(server.url);
    await expectWhole();
    const contextId = await expectWhole();
    expect(await redis.exists(`{default:context:${contextId}}:exchanges`)).toBe(1);
    await redis.flushall();
    await expectWhole();
    await expectWhole();
    redis.disconnect();

    server.process.kill("SIGSTOP");
    await expectWhole();
    await expectWhole();
    server.process.kill("SIGCONT");
    await expectWhole();
    await expectWhole();

    const port = Number(new URL(server.url).port);
    await server.stop();
    await expectWhole();
    server = await startRedis({ port });
    await expectWhole();
    await expectWhole();
  });

  it("gives it again to the same question and to one that means the same, counted, to no other tenant, until a document changes", {
    timeout: LIMIT_MS,
  }, async () => {
    const config = {
      models: [{ provider: "openai", model: "healthy" }],
      knowledge: { collection: "pool" },
      cache: { exact: { ttlSeconds: 600 }, semantic: { threshold: 0.7, ttlSeconds: 600 } },
    };
    await api(gateway, "POST /api/v1/tenants", { body: { id: "umbrella", name: "Umbrella" } });
    const other = await makeKey(gateway, { scopes: ["messages:send", "knowledge:read", "knowledge:write"] });
    await gateway.database.query("UPDATE api_keys SET tenant_id = 'umbrella' WHERE id = $1", [other.id]);
    for (const tenantId of ["default", "umbrella"]) await addAgent(gateway, "pool", config, tenantId);
    const put = (text: string, key = gateway.key) =>
      api(gateway, "PUT /api/v1/knowledge/pool/documents/hours", {
        ...{ key, body: text },
        headers: { "content-type": "text/plain" },
      });
    const asked = async (text: string, key = gateway.key) => {
      const { body } = await ask(gateway, { receiverId: "pool", text }, { key });
      return body.metadata;
    };
    const question = "When does the swimming pool open?";
    for (const key of [gateway.key, other.text]) await put("The swimming pool opens at nine.", key);
    // A collection that has just changed keeps no answers for some seconds.
    await eventually(30_000, async () => (await asked(question)).cached === "exact");
    expect(await asked("When does the swimming pools open?")).toMatchObject({
      cached: "semantic",
      similarity: expect.any(Number),
      usage: { inputTokens: 0, outputTokens: 0 },
    });
    expect((await asked("When does the sauna open?")).cached).toBeUndefined();
    const usage = async () => {
      const { body } = await api(gateway, "GET /api/v1/usage?groupBy=agent");
      return body.usage?.find(({ agentId }: Json) => agentId === "pool")?.cached;
    };
    await eventually(10_000, async () => (await usage()) >= 2);
    expect((await asked(question, other.text)).cached).toBeUndefined();
    await eventually(30_000, async () => (await asked(question, other.text)).cached === "exact");

    await put("The swimming pool opens at ten.");
    await eventually(30_000, async () => (await asked(question)).cached === undefined);
    await eventually(30_000, async () => (await asked(question)).cached === "exact");
    const shown = provider.requests.findLast(({ body }) =>
      body?.messages?.at(-1)?.content.includes(question),
    );
    expect(JSON.stringify(shown?.body)).toContain("opens at ten");
    expect((await asked(question, other.text)).cached).toBe("exact");
  });
});
