/** How an Ollama server is spared, over real sockets, with the links as the registry makes them. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { ModelManager } from "../../../backend/llm/model-manager.ts";
import {
  FIRST_TOKEN_TIMEOUT_MS,
  ModelRegistry,
  OLLAMA_FIRST_TOKEN_TIMEOUT_MS,
} from "../../../backend/llm/model-registry.ts";
import { ProviderHealth } from "../../../backend/llm/provider-health.ts";
import { agentConfigSchema, type ModelAgentConfig } from "../../../core/directory/agent.ts";
import { Deadline } from "../../../core/resilience/deadline.ts";
import { sleep } from "../../../core/resilience/full-jitter.ts";
import { modelRequest, neverAborted } from "../../support/model-events.ts";
import { type OllamaDouble, startOllamaDouble } from "../../support/ollama-double.ts";

const now = () => performance.now();
let double: OllamaDouble;

beforeAll(async () => {
  double = await startOllamaDouble({ latencyMs: 20, tokenIntervalMs: 1 });
});
afterAll(() => double.close());
beforeEach(() => double.reset());

const configOf = (fields: object) =>
  agentConfigSchema.parse({ kind: "model", ...fields }) as ModelAgentConfig;

function createRegistry(concurrencyMax?: number) {
  return new ModelRegistry({
    config: { openai: { apiKey: "k" }, ollama: { host: double.url, concurrencyMax } },
    now,
  });
}

async function ask(registry: ModelRegistry, config: ModelAgentConfig, signal = neverAborted()) {
  const health = new ProviderHealth({ now, random: Math.random });
  const manager = new ModelManager({ now, random: Math.random, sleep, health });
  const models = await registry.resolveAgent(config, signal);
  const question = { request: modelRequest("Why?"), presetReply: "Later." };
  const answer = manager.answer({ ...models, ...question, deadline: Deadline.after(30_000, now), signal });
  let last: string | undefined;
  for await (const event of answer) if (event.type === "finish") last = event.answer.model;
  return last;
}

describe("an Ollama server", () => {
  const config = configOf({ models: [{ provider: "ollama", model: "healthy" }] });

  it("has no more calls at once than it may have, and answers all that wait", async () => {
    const registry = createRegistry(2);
    let atOnceMax = 0;
    const watch = setInterval(() => {
      const gate = double.requests.length;
      atOnceMax = Math.max(atOnceMax, gate - answered);
    }, 1);
    let answered = 0;
    const asked = Array.from({ length: 8 }, async () => {
      const model = await ask(registry, config);
      answered += 1;
      return model;
    });
    expect(await Promise.all(asked)).toEqual(Array(8).fill("ollama/healthy"));
    clearInterval(watch);
    expect(double.requestCount).toBe(8);
    expect(atOnceMax).toBeLessThanOrEqual(2);
  });

  it("leaves a request that its queue has no room for to the next model", async () => {
    const registry = createRegistry(1);
    const silent = configOf({ models: [{ provider: "ollama", model: "silent" }] });
    const controller = new AbortController();
    const held = Array.from({ length: 9 }, () =>
      ask(registry, silent, controller.signal).catch(() => "gone"),
    );
    await expect.poll(() => double.requestCount).toBe(1);
    const chained = configOf({ models: [{ provider: "ollama", model: "healthy" }, { provider: "builtin" }] });
    expect(await ask(registry, chained)).toBe("builtin/extractive");
    controller.abort();
    expect(await Promise.all(held)).toEqual(Array(9).fill("gone"));
    expect(double.requestCount).toBe(1);
    expect(await ask(registry, chained)).toBe("ollama/healthy");
  });

  it("is given time to load a model, which other providers are not", async () => {
    const models = [
      { provider: "ollama", model: "m" },
      { provider: "openai", model: "m" },
    ];
    const { chain } = await createRegistry().resolveAgent(configOf({ models }), neverAborted());
    expect(chain.map(({ firstTokenTimeoutMs }) => firstTokenTimeoutMs)).toEqual([
      OLLAMA_FIRST_TOKEN_TIMEOUT_MS,
      FIRST_TOKEN_TIMEOUT_MS,
    ]);
    const own = [{ provider: "ollama", model: "m", limits: { firstTokenTimeoutMs: 500 } }];
    const impatient = await createRegistry().resolveAgent(configOf({ models: own }), neverAborted());
    expect(impatient.chain[0]?.firstTokenTimeoutMs).toBe(500);
  });
});

it("an agent's fallbacks and hedge come with its models, each with the parameters of the request", async () => {
  const config = configOf({
    models: [
      { provider: "openai", model: "a" },
      { provider: "openai", model: "b" },
    ],
    contextWindowFallbacks: [{ provider: "openai", model: "long", contextTokens: 9_000 }],
    contentPolicyFallbacks: [{ provider: "builtin" }],
    hedge: { afterMs: 700 },
  });
  const resolved = await createRegistry().resolveAgent(config, neverAborted(), () => ({ temperature: 1 }));
  expect(resolved.hedge).toEqual({ afterMs: 700 });
  const links = [resolved.chain, resolved.contextWindowFallbacks, resolved.contentPolicyFallbacks].flat();
  expect(links.map((link) => [link?.model.id, link?.model.host, link?.parameters])).toEqual([
    ["openai/a", "api.openai.com", { temperature: 1 }],
    ["openai/b", "api.openai.com", { temperature: 1 }],
    ["openai/long", "api.openai.com", { temperature: 1 }],
    ["builtin/extractive", undefined, { temperature: 1 }],
  ]);
});
