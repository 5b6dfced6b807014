/** The real `openai` SDK against the real gateway: what every OpenAI client and chat program does. */
import OpenAI, {
  APIError,
  AuthenticationError,
  BadRequestError,
  NotFoundError,
  RateLimitError,
} from "openai";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { answerText } from "../support/double-answer.ts";
import { type Gateway, startGateway } from "../support/gateway.ts";
import { type OpenaiDouble, startOpenaiDouble } from "../support/openai-double.ts";
import { eventually, makeKey } from "./administration-client.ts";

const LIMIT_MS = 60_000;
const PRESET = "Please come back later.";

let provider: OpenaiDouble;
let gateway: Gateway;
let client: OpenAI;
beforeAll(async () => {
  provider = await startOpenaiDouble({ tokenIntervalMs: 5 });
  gateway = await startGateway({
    environment: { OPENAI_BASE_URL: provider.baseUrl, OPENAI_MODEL: "healthy" },
  });
  client = clientOf(gateway.key);
}, LIMIT_MS);
afterAll(async () => {
  await gateway.stop();
  gateway.remove();
  await provider.close();
}, LIMIT_MS);

function clientOf(apiKey: string): OpenAI {
  return new OpenAI({ apiKey, baseURL: `${gateway.url}/v1`, maxRetries: 0 });
}

/** An agent that asks these models of the double, each once. */
async function agentOf(models: readonly string[], fields: object = {}): Promise<string> {
  const id = [...models, ...Object.keys(fields).map((key) => key.toLowerCase())].join("-then-");
  const config = {
    kind: "model",
    models: models.map((model) => ({ provider: "openai", model, limits: { attemptsMax: 1 } })),
    presetReply: PRESET,
    ...fields,
  };
  await gateway.database.query(
    `insert into agents (tenant_id, id, name, description, version, config)
     values ('default', $1, $1, '', 1, $2::jsonb) on conflict (tenant_id, id) do nothing`,
    [id, JSON.stringify(config)],
  );
  return id;
}

const say = (content: string) => [{ role: "user" as const, content }];

async function streamed(model: string, content: string, options: { headers?: Record<string, string> } = {}) {
  const stream = await client.chat.completions.create(
    { model, messages: say(content), stream: true, stream_options: { include_usage: true } },
    options,
  );
  let text = "";
  let finish: string | null = null;
  let usage: OpenAI.CompletionUsage | null | undefined;
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta.content ?? "";
    finish = chunk.choices[0]?.finish_reason ?? finish;
    usage = chunk.usage ?? usage;
  }
  return { text, finish, usage };
}

describe("the SDK", () => {
  it("gets a completion", async () => {
    const completion = await client.chat.completions.create({ model: "assistant", messages: say("hello") });
    expect(completion.choices[0]?.message.content).toBe(answerText("hello"));
    expect(completion.choices[0]?.finish_reason).toBe("stop");
    expect(completion.model).toBe("assistant");
    expect(completion.usage?.total_tokens).toBeGreaterThan(60);
    expect(completion).toMatchObject({ parley: { model: "openai/healthy" } });
  });

  it("gets a stream, with its usage", async () => {
    const { text, finish, usage } = await streamed("assistant", "stream, please");
    expect(text).toBe(answerText("stream, please"));
    expect(finish).toBe("stop");
    expect(usage?.completion_tokens).toBeGreaterThan(50);
  });

  it("gets a stream by its helper, which checks every chunk", async () => {
    const runner = client.chat.completions.stream({ model: "assistant", messages: say("help") });
    expect((await runner.finalChatCompletion()).choices[0]?.message.content).toBe(answerText("help"));
  });

  it("has its conversation, its instructions and its parameters reach the model, and nothing of others", async () => {
    await client.chat.completions.create({ model: "assistant", messages: say("an earlier question") });
    await client.chat.completions.create({
      model: "assistant",
      messages: [
        { role: "system", content: "Answer in French." },
        { role: "user", content: "I am Ann" },
        { role: "assistant", content: "Bonjour Ann" },
        { role: "user", content: "who am I?" },
      ],
      ...{ temperature: 0.5, top_p: 0.9, max_tokens: 99, stop: ["END"], seed: 7 },
    });
    const { body } = provider.lastRequest;
    expect(body.messages.map(({ role }: { role: string }) => role)).toEqual([
      ...["system", "user", "assistant", "user"],
    ]);
    expect(body.messages[0].content).toMatch(/Answer in French\.$/);
    expect(JSON.stringify(body.messages)).not.toContain("an earlier question");
    expect(body).toMatchObject({ temperature: 0.5, top_p: 0.9, stop: ["END"], seed: 7 });
    expect(body.max_tokens ?? body.max_completion_tokens).toBe(99);
  });

  it("lists the agents as models, and finds one", async () => {
    const models = await client.models.list();
    expect(models.data.map(({ id }) => id)).toEqual(expect.arrayContaining(["assistant", "echo"]));
    expect(await client.models.retrieve("echo")).toMatchObject({ id: "echo", object: "model" });
  });

  it("has its own classes of errors for what goes wrong", async () => {
    const hello = { model: "assistant", messages: say("hi") };
    const wrongKey = clientOf("sk-wrong").chat.completions.create(hello);
    await expect(wrongKey).rejects.toBeInstanceOf(AuthenticationError);
    await expect(wrongKey).rejects.toMatchObject({ status: 401, code: "invalid_api_key" });
    const unknown = client.chat.completions.create({ ...hello, model: "gpt-5" });
    await expect(unknown).rejects.toBeInstanceOf(NotFoundError);
    await expect(unknown).rejects.toMatchObject({ code: "model_not_found", requestID: expect.any(String) });
    const tools = client.chat.completions.create({
      ...hello,
      tools: [{ type: "function", function: { name: "f" } }],
    });
    await expect(tools).rejects.toBeInstanceOf(BadRequestError);
    await expect(tools).rejects.toMatchObject({ param: "tools", code: "unsupported_parameter" });
    const { text: key } = await makeKey(gateway, {
      ...{ subject: "poor", scopes: ["messages:send"] },
      limits: { requestsPerMinute: 1 },
    });
    await clientOf(key).chat.completions.create({ ...hello, model: "echo" });
    const tooMany = clientOf(key).chat.completions.create({ ...hello, model: "echo" });
    await expect(tooMany).rejects.toBeInstanceOf(RateLimitError);
    await expect(tooMany).rejects.toMatchObject({ type: "requests", code: "rate_limit_exceeded" });
  });
});

describe("a model that fails", () => {
  it("before its first token is replaced unseen", async () => {
    const model = await agentOf(["unavailable", "healthy"]);
    expect(await streamed(model, "still there?")).toMatchObject({
      ...{ text: answerText("still there?"), finish: "stop" },
    });
  });

  it.each(["cut-20", "end-20", "end-done-20", "lost-20"])(
    "(%s) in the middle ends a live stream with an error that the SDK throws, and stops the task",
    async (fault) => {
      const model = await agentOf([fault, "healthy"]);
      const error = await streamed(model, "half an answer").catch((thrown) => thrown);
      expect(error).toBeInstanceOf(APIError);
      expect(error).toMatchObject({ code: "stream_restarted", type: "server_error" });
    },
  );

  it.each(["cut-20", "end-20", "end-done-20", "lost-20", "garbage-20"])(
    "(%s) in the middle is replaced unseen when the stream is held back",
    async (fault) => {
      const model = await agentOf([fault, "healthy"], { completions: { holdBack: true } });
      expect(await streamed(model, "all of it")).toMatchObject({
        ...{ text: answerText("all of it"), finish: "stop" },
      });
      const live = await agentOf([fault, "healthy"]);
      const headers = { "parley-stream": "hold-back" };
      expect((await streamed(live, "by header", { headers })).text).toBe(answerText("by header"));
    },
  );

  it("and is the only one gives way to the preset reply, marked as such", async () => {
    const model = await agentOf(["unavailable"]);
    const completion = await client.chat.completions.create({ model, messages: say("anybody?") });
    expect(completion.choices[0]?.message.content).toBe(PRESET);
    expect(completion).toMatchObject({ parley: { degraded: "preset-reply" } });
    expect((await streamed(model, "anybody?")).text).toBe(PRESET);
  });
});

describe("a client that stops", () => {
  it("closes the provider's stream with its own", async () => {
    const stream = await client.chat.completions.create({
      model: "assistant",
      messages: say("stop me"),
      stream: true,
    });
    for await (const chunk of stream) if (chunk.choices[0]?.delta.content) break;
    await eventually(5_000, async () => provider.lastRequest.closedEarlyAtMs !== undefined);
  });
});
