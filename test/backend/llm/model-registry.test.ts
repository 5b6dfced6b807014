import { afterEach, describe, expect, it } from "vitest";
import { CachedProbe, NEGATIVE_MS, POSITIVE_MS } from "../../../backend/llm/cached-probe.ts";
import {
  ModelRegistry,
  type ModelsConfig,
  OPENAI_MODEL_DEFAULT,
} from "../../../backend/llm/model-registry.ts";
import { agentConfigSchema } from "../../../core/directory/agent.ts";
import type { ModelDouble } from "../../support/model-double.ts";
import {
  collect,
  failureOf,
  modelRequest,
  neverAborted,
  textOf,
  verdictOf,
} from "../../support/model-events.ts";
import { startOllamaDouble } from "../../support/ollama-double.ts";
import { startOpenaiDouble } from "../../support/openai-double.ts";

const doubles: ModelDouble[] = [];

afterEach(async () => {
  await Promise.all(doubles.splice(0).map((double) => double.close()));
});

async function running<T extends ModelDouble>(starting: Promise<T>): Promise<T> {
  const double = await starting;
  doubles.push(double);
  return double;
}

/** The address of a server that does not run. */
async function nowhere(): Promise<string> {
  const double = await startOllamaDouble();
  const { url } = double;
  await double.close();
  return url;
}

function registryOf(config: ModelsConfig, now = () => performance.now()) {
  return new ModelRegistry({ config, now });
}

type Provider = "default" | "openai" | "ollama" | "builtin";

async function idOf(config: ModelsConfig, provider: Provider, model = "default"): Promise<string> {
  return (await registryOf(config).resolve({ provider, model }, neverAborted())).id;
}

describe("a reference to a provider", () => {
  it("resolves to its model of that name, without asking anybody", async () => {
    const openai = await running(startOpenaiDouble());
    const ollama = await running(startOllamaDouble());
    const config = { openai: { baseUrl: openai.baseUrl }, ollama: { host: ollama.url } };
    expect(await idOf(config, "openai", "some-model")).toBe("openai/some-model");
    expect(await idOf(config, "ollama", "llama3.2:3b")).toBe("ollama/llama3.2:3b");
    expect(await idOf(config, "builtin", "anything")).toBe("builtin/extractive");
    expect(openai.requestCount + ollama.requestCount).toBe(0);
  });

  it.each([
    ["nothing", undefined],
    ["neither key nor address", { apiKey: "", baseUrl: undefined, model: "m" }],
  ])("that is not configured (%s) resolves to a model that fails for good", async (_, openai) => {
    const registry = registryOf({ openai, ollama: { host: await nowhere() } });
    const model = await registry.resolve({ provider: "openai", model: "m" }, neverAborted());
    expect(model.id).toBe("openai/m");
    const { error } = await failureOf(model.stream(modelRequest("Why?"), neverAborted()));
    expect(verdictOf(error)).toEqual({ reason: "model-not-found", retryable: false });
  });

  it("without a model's name takes the one it has", async () => {
    const openai = await running(
      startOpenaiDouble({ models: ["text-embedding-3-small", "first", "second"] }),
    );
    const ollama = await running(startOllamaDouble({ models: ["nomic-embed-text:latest", "llama3.2:3b"] }));
    const config = { openai: { baseUrl: openai.baseUrl }, ollama: { host: ollama.url } };
    expect(await idOf(config, "openai")).toBe("openai/first");
    expect(await idOf(config, "ollama")).toBe("ollama/llama3.2:3b");
    expect(await idOf({ ...config, openai: { ...config.openai, model: "named" } }, "openai")).toBe(
      "openai/named",
    );
    expect(await idOf({ ...config, ollama: { ...config.ollama, model: "named" } }, "ollama")).toBe(
      "ollama/named",
    );
  });

  it("of Ollama without a model resolves to a model that fails when the server is not there", async () => {
    const registry = registryOf({ ollama: { host: await nowhere() } });
    const model = await registry.resolve({ provider: "ollama", model: "default" }, neverAborted());
    const { error } = await failureOf(model.stream(modelRequest("Why?"), neverAborted()));
    expect(verdictOf(error)).toMatchObject({ reason: "provider-unavailable" });
  });
});

describe("the default model", () => {
  it("is the OpenAI-compatible server's when one is configured", async () => {
    const openai = await running(startOpenaiDouble({ models: ["first"] }));
    const ollama = await running(startOllamaDouble());
    const config = { openai: { baseUrl: openai.baseUrl }, ollama: { host: ollama.url } };
    expect(await idOf(config, "default", "ignored")).toBe("openai/first");
    expect(ollama.requestCount).toBe(0);
  });

  it("of OpenAI itself is a fixed one, without asking for the list", async () => {
    expect(await idOf({ openai: { apiKey: "k" }, ollama: { host: "http://127.0.0.1:1" } }, "default")).toBe(
      `openai/${OPENAI_MODEL_DEFAULT}`,
    );
  });

  it("of a server that lists none is the fixed one, too", async () => {
    const openai = await running(startOpenaiDouble({ models: [] }));
    const config = { openai: { baseUrl: openai.baseUrl }, ollama: { host: "http://127.0.0.1:1" } };
    expect(await idOf(config, "default")).toBe(`openai/${OPENAI_MODEL_DEFAULT}`);
    expect(await idOf({ ...config, openai: { baseUrl: `${await nowhere()}/v1` } }, "default")).toBe(
      `openai/${OPENAI_MODEL_DEFAULT}`,
    );
  });

  it("is Ollama's when it answers, and can be asked", async () => {
    const ollama = await running(startOllamaDouble());
    const registry = registryOf({ ollama: { host: ollama.url } });
    const model = await registry.resolve({ provider: "default", model: "default" }, neverAborted());
    expect(model.id).toBe("ollama/healthy");
    expect(textOf(await collect(model.stream(modelRequest("Why?"), neverAborted())))).toContain(
      "You said: Why?",
    );
  });

  it("is the configured one of Ollama when Ollama answers", async () => {
    const ollama = await running(startOllamaDouble());
    expect(await idOf({ ollama: { host: ollama.url, model: "mine" } }, "default")).toBe("ollama/mine");
    expect(await idOf({ ollama: { host: await nowhere(), model: "mine" } }, "default")).toBe(
      "builtin/extractive",
    );
  });

  it("is the builtin one when Ollama is not there, or has no model that talks", async () => {
    const empty = await running(startOllamaDouble({ models: ["nomic-embed-text:latest"] }));
    expect(await idOf({ ollama: { host: empty.url } }, "default")).toBe("builtin/extractive");
    expect(await idOf({ ollama: { host: await nowhere() } }, "default")).toBe("builtin/extractive");
    expect(await idOf({ ollama: { host: "not a host" } }, "default")).toBe("builtin/extractive");
  });

  it("is asked for once while many wait, and again only after a while", async () => {
    const ollama = await running(startOllamaDouble());
    let nowMs = 0;
    const registry = registryOf({ ollama: { host: ollama.url } }, () => nowMs);
    const resolve = () => registry.resolve({ provider: "default", model: "default" }, neverAborted());
    await Promise.all(Array.from({ length: 10 }, resolve));
    nowMs = POSITIVE_MS - 1;
    await resolve();
    expect(ollama.requestCount).toBe(1);
    nowMs = POSITIVE_MS;
    await resolve();
    expect(ollama.requestCount).toBe(2);
  });
});

it("resolves a chain in its order, with the limits and parameters of each link", async () => {
  const config = agentConfigSchema.parse({
    kind: "model",
    models: [
      { provider: "openai", model: "a", parameters: { temperature: 0 }, limits: { attemptsMax: 3 } },
      { provider: "builtin" },
    ],
  });
  if (config.kind !== "model") throw new Error("not a model agent");
  const chain = await registryOf({ ollama: { host: "http://127.0.0.1:1" } }).resolveChain(
    config.models,
    neverAborted(),
  );
  expect(chain.map(({ model, ...link }) => ({ id: model.id, ...link }))).toMatchObject([
    { id: "openai/a", attemptsMax: 3, parameters: { temperature: 0 }, firstTokenTimeoutMs: 12_000 },
    { id: "builtin/extractive", attemptsMax: 2, totalTimeoutMs: 120_000 },
  ]);
});

describe("a probe", () => {
  it("remembers a failure for a shorter while than an answer", async () => {
    let nowMs = 0;
    let asked = 0;
    const ask = async () => {
      asked += 1;
      throw new Error("down");
    };
    const probe = new CachedProbe({ ask, timeoutMs: 1_000, now: () => nowMs });
    expect(await probe.get(neverAborted())).toBeUndefined();
    nowMs = NEGATIVE_MS - 1;
    await probe.get(neverAborted());
    expect(asked).toBe(1);
    nowMs = NEGATIVE_MS;
    await probe.get(neverAborted());
    expect(asked).toBe(2);
  });

  it("gives up a server that does not answer", async () => {
    const ask = (signal: AbortSignal) =>
      new Promise<never>((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    const probe = new CachedProbe({ ask, timeoutMs: 30, now: () => performance.now() });
    expect(await probe.get(neverAborted())).toBeUndefined();
  });

  it("lets one caller leave without ending the others' wait", async () => {
    const { promise, resolve } = Promise.withResolvers<string>();
    const probe = new CachedProbe({ ask: () => promise, timeoutMs: 1_000, now: () => 0 });
    const controller = new AbortController();
    const leaving = probe.get(controller.signal);
    const staying = probe.get(neverAborted());
    controller.abort("gone");
    await expect(leaving).rejects.toBe("gone");
    resolve("there");
    expect(await staying).toBe("there");
  });
});

describe("the window of an Ollama model", () => {
  it("is the largest that an agent has asked for, for all agents, so that the server does not reload", async () => {
    const ollama = await running(startOllamaDouble());
    const registry = registryOf({ ollama: { host: ollama.url } });
    const windows = [];
    for (const contextTokens of [4_096, 32_000, undefined, 4_096]) {
      const reference = { provider: "ollama" as const, model: "healthy", contextTokens };
      await collect(
        (await registry.resolve(reference, neverAborted())).stream(modelRequest("Why?"), neverAborted()),
      );
      windows.push(ollama.lastRequest.body.options.num_ctx);
    }
    expect(windows).toEqual([4_096, 32_000, 32_000, 32_000]);
    const other = { provider: "ollama" as const, model: "no-usage" };
    await collect(
      (await registry.resolve(other, neverAborted())).stream(modelRequest("Why?"), neverAborted()),
    );
    expect(ollama.lastRequest.body.options.num_ctx).toBe(8_192);
  });
});
