/** What is particular to OpenAI-compatible servers; the port's contract is in language-model-contract.test.ts. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { openaiClientSource } from "../../../backend/llm/openai-client.ts";
import { OpenaiLanguageModel } from "../../../backend/llm/openai-language-model.ts";
import { answerText } from "../../support/double-answer.ts";
import {
  collect,
  failureOf,
  modelRequest,
  neverAborted,
  textOf,
  verdictOf,
} from "../../support/model-events.ts";
import { type OpenaiDouble, startOpenaiDouble } from "../../support/openai-double.ts";

let double: OpenaiDouble;

beforeAll(async () => {
  double = await startOpenaiDouble();
});
afterAll(() => double.close());
beforeEach(() => double.reset());
afterEach(() => vi.unstubAllEnvs());

function stream(name: string, { signal = neverAborted(), endWaitMs = 100 } = {}) {
  const client = openaiClientSource({ apiKey: "sk-test", baseUrl: double.baseUrl });
  const model = new OpenaiLanguageModel({ providerId: "openai", model: name, client, endWaitMs });
  return model.stream(modelRequest("Why?"), signal);
}

describe("the end of a stream", () => {
  it("takes an answer with a finish reason as whole when `[DONE]` never comes", async () => {
    const events = await collect(stream("no-done"));
    expect(textOf(events)).toBe(answerText("Why?"));
    expect(events.slice(-2).map((event) => event.type)).toEqual(["usage", "finish"]);
  });

  it("does not take `[DONE]` for a finish reason", async () => {
    const { error } = await failureOf(stream("end-done-5"));
    expect(verdictOf(error)).toEqual({ reason: "truncated", retryable: true });
  });

  it("is not waited for longer than its limit once the finish reason has come", async () => {
    const events = await collect(stream("open-end", { endWaitMs: 50 }));
    expect(textOf(events)).toBe(answerText("Why?"));
    expect(events.at(-1)).toEqual({ type: "finish", reason: "stop" });
    expect(await double.lastRequest.closed).toBe("early");
  });

  it("is not waited for once finish reason and usage have come", async () => {
    const startedAtMs = performance.now();
    const events = await collect(stream("open-done", { endWaitMs: 10_000 }));
    expect(events.at(-2)).toMatchObject({ type: "usage" });
    expect(performance.now() - startedAtMs).toBeLessThan(5_000);
  });

  it("may be a broken connection once the finish reason has come", async () => {
    const events = await collect(stream("cut-end"));
    expect(textOf(events)).toBe(answerText("Why?"));
    expect(events.at(-1)).toEqual({ type: "finish", reason: "stop" });
  });

  it("still hears an abort while it is waited for", async () => {
    const controller = new AbortController();
    const events = stream("open-end", { signal: controller.signal, endWaitMs: 10_000 });
    setTimeout(() => controller.abort("changed my mind"), 50);
    expect((await failureOf(events)).error).toBe("changed my mind");
  });

  it("reports a content filter that stopped the answer", async () => {
    const events = await collect(stream("content-filter-3"));
    expect(events.at(-1)).toEqual({ type: "finish", reason: "content-filter" });
  });
});

describe("the request", () => {
  /** What is sent with these client options, seen by a fetch that answers nothing. */
  async function sent(options: Parameters<typeof openaiClientSource>[0]) {
    const calls: { url: string; headers: Headers; body: Record<string, unknown> }[] = [];
    const client = openaiClientSource({
      ...options,
      fetch: async (url, init) => {
        calls.push({
          url: String(url),
          headers: new Headers(init?.headers),
          body: JSON.parse(String(init?.body)),
        });
        return new Response("data: [DONE]\n\n");
      },
    });
    const model = new OpenaiLanguageModel({ providerId: "openai", model: "m", client });
    const request = modelRequest("Why?", { parameters: { outputTokensMax: 9 } });
    await failureOf(model.stream(request, neverAborted()));
    const [call] = calls;
    if (!call) throw new Error("nothing was sent");
    return call;
  }

  it("asks for a stream that says what it cost", async () => {
    await collect(stream("healthy"));
    expect(double.lastRequest.body).toMatchObject({ stream: true, stream_options: { include_usage: true } });
  });

  it.each([
    ["https://api.openai.com/v1", "max_completion_tokens"],
    ["https://eu.api.openai.com/v1", "max_completion_tokens"],
    ["https://somebody.openai.azure.com/openai/v1", "max_completion_tokens"],
    ["http://localhost:8000/v1", "max_tokens"],
    ["https://openai.com.example.net/v1", "max_tokens"],
  ])("to %s limits the output by %s", async (baseUrl, name) => {
    const { body } = await sent({ apiKey: "k", baseUrl });
    const limits = Object.entries(body).filter(([key]) => key.startsWith("max_"));
    expect(limits).toEqual([[name, 9]]);
  });

  it("goes to OpenAI when no address is configured", async () => {
    expect((await sent({ apiKey: "k" })).url).toBe("https://api.openai.com/v1/chat/completions");
  });

  it("carries the key, and no Authorization header when there is none", async () => {
    expect((await sent({ apiKey: "k" })).headers.get("authorization")).toBe("Bearer k");
    expect((await sent({ baseUrl: "http://localhost:8000/v1" })).headers.has("authorization")).toBe(false);
  });

  it("does not listen to the SDK's environment variables", async () => {
    vi.stubEnv("OPENAI_API_KEY", "from-env");
    vi.stubEnv("OPENAI_BASE_URL", "http://from-env.example/v1");
    vi.stubEnv("OPENAI_ORG_ID", "org-from-env");
    const { url, headers } = await sent({ baseUrl: "http://localhost:8000/v1" });
    expect(url).toBe("http://localhost:8000/v1/chat/completions");
    expect(headers.has("authorization")).toBe(false);
    expect(headers.has("openai-organization")).toBe(false);
    expect((await sent({ apiKey: "k" })).url).toBe("https://api.openai.com/v1/chat/completions");
  });
});

it("writes nothing to the console, whatever happens", async () => {
  vi.stubEnv("OPENAI_LOG", "debug");
  const spies = (["log", "info", "warn", "error", "debug"] as const).map((name) => vi.spyOn(console, name));
  for (const name of ["garbage-2", "cut-2", "status-500", "status-401", "stream-error-2", "healthy"]) {
    await collect(stream(name)).catch(() => {});
  }
  for (const spy of spies) expect(spy).not.toHaveBeenCalled();
  vi.restoreAllMocks();
});
