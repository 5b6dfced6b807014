/** The port's contract, held against every adapter that speaks to a provider, over real sockets. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { guardStream } from "../../../backend/llm/guard-stream.ts";
import type { LanguageModel, ModelFailureReason } from "../../../backend/llm/language-model.ts";
import { OllamaLanguageModel } from "../../../backend/llm/ollama-language-model.ts";
import { openaiClientSource } from "../../../backend/llm/openai-client.ts";
import { OpenaiLanguageModel } from "../../../backend/llm/openai-language-model.ts";
import { ParleyError } from "../../../core/errors/parley-error.ts";
import { answerText, answerTokens } from "../../support/double-answer.ts";
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

/** In no form that is known for a key. */
const API_KEY = "0123456789/abcdef";

interface Adapter {
  readonly name: string;
  readonly start: (options?: { tokens: string[]; tokenIntervalMs: number }) => Promise<ModelDouble>;
  readonly model: (url: string, name: string) => LanguageModel;
  /** Failures that the two wires tell apart differently. */
  readonly refusals: Record<string, ModelFailureReason>;
}

const ADAPTERS: Adapter[] = [
  {
    name: "openai",
    start: (options) => startOpenaiDouble(options),
    model: (url, model) => {
      const client = openaiClientSource({ apiKey: API_KEY, baseUrl: `${url}/v1` });
      return new OpenaiLanguageModel({ providerId: "openai", model, client });
    },
    refusals: { unavailable: "provider-unavailable", "status-409": "provider-unavailable" },
  },
  {
    name: "ollama",
    start: (options) => startOllamaDouble(options),
    model: (url, model) =>
      new OllamaLanguageModel({ providerId: "ollama", model, server: { host: url }, contextTokens: 8_192 }),
    refusals: { unavailable: "overloaded", "status-499": "provider-refused" },
  },
];

const RETRYABLE = new Set<ModelFailureReason>([
  "rate-limited",
  "overloaded",
  "provider-unavailable",
  "truncated",
]);

describe.each(ADAPTERS)("a model behind $name", ({ name: provider, start, model: build, refusals }) => {
  let double: ModelDouble;
  const model = (name: string) => build(double.url, name);
  const stream = (name: string, signal = neverAborted()) => model(name).stream(modelRequest("Why?"), signal);

  beforeAll(async () => {
    double = await start();
  });
  afterAll(() => double.close());
  beforeEach(() => double.reset());

  it("names itself by its provider and its name there", () => {
    expect(model("healthy:7b").id).toBe(`${provider}/healthy:7b`);
  });

  it("gives the whole text in order, what it cost, and one finish at the end", async () => {
    const events = await collect(stream("healthy"));
    expect(textOf(events)).toBe(answerText("Why?"));
    expect(events.slice(-2)).toEqual([
      { type: "usage", usage: { inputTokens: 5, outputTokens: 61 } },
      { type: "finish", reason: "stop" },
    ]);
    expect(events.filter((event) => event.type !== "text-delta")).toHaveLength(2);
  });

  it("sends the whole conversation and the parameters that are set, and no others", async () => {
    const request = modelRequest("And now?", {
      messages: [
        { role: "system", text: "Be brief." },
        { role: "user", text: "Hello" },
        { role: "assistant", text: "Hi" },
        { role: "user", text: "And now?" },
      ],
      parameters: { temperature: 0, topP: undefined, outputTokensMax: 50, seed: 7, stop: ["END"] },
    });
    await collect(model("healthy").stream(request, neverAborted()));
    const { body } = double.lastRequest;
    expect(body.messages).toEqual(request.messages.map(({ role, text }) => ({ role, content: text })));
    const parameters = body.options ?? body;
    expect(parameters).toMatchObject({ temperature: 0, seed: 7, stop: ["END"] });
    expect(parameters.num_predict ?? parameters.max_tokens).toBe(50);
    expect(parameters).not.toHaveProperty("top_p");
  });

  it("leaves the request as it was", async () => {
    const request = modelRequest("Why?");
    const before = structuredClone(request);
    await collect(model("healthy").stream(request, neverAborted()));
    expect(request).toEqual(before);
  });

  it("uses one connection for answers that follow each other", async () => {
    for (let call = 0; call < 5; call += 1) await collect(stream("healthy"));
    // None, where one was left over from the test before.
    expect(double.connectionCount).toBeLessThanOrEqual(1);
  });

  it("gives its connection back when the server takes its time to end the response", async () => {
    const slow = await start({ tokens: ["a ", "b"], tokenIntervalMs: 3 });
    const limits = { firstTokenTimeoutMs: 5_000, idleTimeoutMs: 5_000, totalTimeoutMs: 5_000 };
    for (let call = 0; call < 4; call += 1) {
      const options = { ...limits, signal: neverAborted() };
      await collect(guardStream(build(slow.url, "healthy"), modelRequest("Why?"), options));
      expect(await slow.lastRequest.closed).toBe("whole");
      // The end has been sent; it takes a moment to arrive.
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    expect(slow.connectionCount).toBe(1);
    await slow.close();
  });

  it("says nothing of the cost when the provider does not", async () => {
    const events = await collect(stream("no-usage"));
    expect(events.some((event) => event.type === "usage")).toBe(false);
    expect(events.at(-1)).toEqual({ type: "finish", reason: "stop" });
  });

  it("tells an answer at its output limit from a finished one", async () => {
    const events = await collect(stream("length-3"));
    expect(events.at(-1)).toEqual({ type: "finish", reason: "length" });
  });

  it("gives a tool call whole, its arguments as JSON text", async () => {
    const events = await collect(stream("tool-call"));
    expect(events.filter((event) => event.type === "tool-call")).toEqual([
      {
        type: "tool-call",
        id: expect.stringMatching(/^call_/),
        name: "look_up",
        arguments: '{"city":"Paris"}',
      },
    ]);
    expect(events.at(-1)).toEqual({ type: "finish", reason: "tool-calls" });
  });

  it("finishes an empty answer without text", async () => {
    expect(textOf(await collect(stream("empty")))).toBe("");
  });

  describe("fails, and never passes a part for the whole,", () => {
    it.each<[string, string, ModelFailureReason]>([
      ["when the connection breaks after some tokens", "cut-5", "truncated"],
      ["when the stream ends without a finish reason", "end-5", "truncated"],
      ["when the stream ends before the first token", "end-0", "truncated"],
      ["when a token was lost to something that is not JSON", "lost-5", "garbled"],
      ["when the provider reports an error in the stream", "stream-error-5", "provider-unavailable"],
    ])("%s", async (_, name, reason) => {
      const { events, error } = await failureOf(stream(name));
      expect(verdictOf(error)).toEqual({ reason, retryable: RETRYABLE.has(reason) });
      expect(events.some((event) => event.type === "finish")).toBe(false);
    });
  });

  it.each<[string, ModelFailureReason]>([
    ["rate-limited", "rate-limited"],
    ["quota", "quota-exhausted"],
    ["error-500-once", "provider-unavailable"],
    ["reset-once", "provider-unavailable"],
    ["context-length", "context-window"],
    ["content-policy", "content-policy"],
    ["status-400", "provider-refused"],
    ["status-401", "provider-credentials"],
    ["status-403", "provider-credentials"],
    ["status-404", "model-not-found"],
    ["status-408", "provider-unavailable"],
    ["status-422", "provider-refused"],
    ["status-502", "provider-unavailable"],
    ["status-504", "provider-unavailable"],
    ...(Object.entries(refusals) as [string, ModelFailureReason][]),
  ])("classifies %s as %s, after exactly one request", async (name, reason) => {
    const { error } = await failureOf(stream(name));
    expect(verdictOf(error)).toEqual({ reason, retryable: RETRYABLE.has(reason) });
    expect(double.requestCount).toBe(1);
  });

  it("passes on how long the provider asks to wait", async () => {
    const { error } = await failureOf(stream("rate-limited-once"));
    expect(error).toMatchObject({ reason: "rate-limited", retryAfterMs: 2_000 });
  });

  it("is unavailable when nobody listens", async () => {
    const gone = await start();
    const { url } = gone;
    await gone.close();
    const { error } = await failureOf(build(url, "healthy").stream(modelRequest("Why?"), neverAborted()));
    expect(verdictOf(error)).toEqual({ reason: "provider-unavailable", retryable: true });
  });

  it("shows neither the provider's words nor its key in the message, and no key in the cause", async () => {
    const { error } = await failureOf(stream("status-401"));
    if (!(error instanceof ParleyError)) throw error;
    expect(error.message).not.toMatch(/refused:|incorrect/i);
    expect(error.cause).toBeInstanceOf(Error);
    expect(JSON.stringify([error.message, String(error.cause), (error.cause as Error).stack])).not.toContain(
      API_KEY,
    );
  });

  describe("when its signal aborts", () => {
    it("calls nobody if it had aborted before", async () => {
      const { error } = await failureOf(stream("healthy", AbortSignal.abort("gone")));
      expect(error).toBe("gone");
      expect(double.requestCount).toBe(0);
    });

    it("closes the connection and throws the signal's reason while it waits for headers", async () => {
      const controller = new AbortController();
      const failed = failureOf(stream("silent", controller.signal));
      await requestAt(double);
      controller.abort("changed my mind");
      expect((await failed).error).toBe("changed my mind");
      expect(await double.lastRequest.closed).toBe("early");
    });

    it("closes the connection and throws the signal's reason in the middle of the answer", async () => {
      const controller = new AbortController();
      const events = stream("stall-5", controller.signal)[Symbol.asyncIterator]();
      let text = "";
      while (text !== answerTokens("Why?").slice(0, 5).join("")) {
        const { value } = await events.next();
        if (value?.type === "text-delta") text += value.text;
      }
      const waiting = events.next();
      controller.abort("changed my mind");
      await expect(waiting).rejects.toBe("changed my mind");
      expect(await double.lastRequest.closed).toBe("early");
    });

    it("closes the connection even while nobody reads", async () => {
      const controller = new AbortController();
      const events = stream("stall-5", controller.signal)[Symbol.asyncIterator]();
      await events.next();
      controller.abort("changed my mind");
      expect(await double.lastRequest.closed).toBe("early");
      await expect(events.next()).rejects.toBe("changed my mind");
    });
  });

  it("closes the connection when its consumer stops early", async () => {
    for await (const event of stream("stall-5")) if (event.type === "text-delta") break;
    expect(await double.lastRequest.closed).toBe("early");
  });

  describe("under guard", () => {
    const limits = { firstTokenTimeoutMs: 60, idleTimeoutMs: 60, totalTimeoutMs: 5_000 };
    const guarded = (name: string) =>
      guardStream(model(name), modelRequest("Why?"), { ...limits, signal: neverAborted() });

    it.each<[string, string, ModelFailureReason]>([
      ["never answers", "silent", "first-token-timeout"],
      ["sends headers and nothing more", "headers-only", "first-token-timeout"],
      ["begins too late", "slow-2000", "first-token-timeout"],
      ["falls silent in the middle", "stall-5", "stalled"],
    ])("is given up, and its connection closed, when it %s", async (_, name, reason) => {
      const { error } = await failureOf(guarded(name));
      expect(verdictOf(error)).toEqual({ reason, retryable: false });
      expect(await double.lastRequest.closed).toBe("early");
    });

    it("keeps its connection for the next answer when all is well", async () => {
      const options = { ...limits, firstTokenTimeoutMs: 5_000, idleTimeoutMs: 5_000, signal: neverAborted() };
      for (let call = 0; call < 5; call += 1) {
        await collect(guardStream(model("healthy"), modelRequest("Why?"), options));
      }
      expect(double.connectionCount).toBeLessThanOrEqual(1);
    });
  });
});

/** Resolves when the double has received a request. */
async function requestAt(double: ModelDouble): Promise<void> {
  await expect.poll(() => double.requestCount, { interval: 5 }).toBeGreaterThan(0);
}
