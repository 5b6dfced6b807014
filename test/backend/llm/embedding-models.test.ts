/** The port to embedding models, held against both adapters, and the check that both rely on. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { checkEmbeddings } from "../../../backend/llm/check-embeddings.ts";
import type { EmbeddingModel } from "../../../backend/llm/embedding-model.ts";
import type { ModelFailureReason } from "../../../backend/llm/language-model.ts";
import { OllamaEmbeddingModel } from "../../../backend/llm/ollama-embedding-model.ts";
import { openaiClientSource } from "../../../backend/llm/openai-client.ts";
import { OpenaiEmbeddingModel } from "../../../backend/llm/openai-embedding-model.ts";
import { hashedEmbedding } from "../../support/hashed-embedding.ts";
import type { ModelDouble } from "../../support/model-double.ts";
import { neverAborted } from "../../support/model-events.ts";
import { startOllamaDouble } from "../../support/ollama-double.ts";
import { startOpenaiDouble } from "../../support/openai-double.ts";

const DIMENSIONS = 32;

const ADAPTERS = [
  {
    name: "openai",
    start: (): Promise<ModelDouble> => startOpenaiDouble({ dimensions: DIMENSIONS }),
    model: (url: string, model: string): EmbeddingModel =>
      new OpenaiEmbeddingModel({
        providerId: "openai",
        model,
        client: openaiClientSource({ baseUrl: `${url}/v1` }),
      }),
  },
  {
    name: "ollama",
    start: (): Promise<ModelDouble> => startOllamaDouble({ dimensions: DIMENSIONS }),
    model: (url: string, model: string): EmbeddingModel =>
      new OllamaEmbeddingModel({ providerId: "ollama", model, server: { host: url } }),
  },
];

describe.each(ADAPTERS)("an embedding model behind $name", ({ name, start, model }) => {
  let double: ModelDouble;
  const embed = (model_: string, texts: readonly string[], signal = neverAborted()) =>
    model(double.url, model_).embed(texts, signal);

  beforeAll(async () => {
    double = await start();
  });
  afterAll(() => double.close());
  beforeEach(() => double.reset());

  it("names itself by its provider and its name there", () => {
    expect(model(double.url, "m").id).toBe(`${name}/m`);
  });

  it.each([["float"], ["base64"]])("gives a vector for each text, in order, from %s", async (encoding) => {
    const texts = ["red apples", "blue sky"];
    const vectors = await embed(encoding, texts);
    expect(vectors).toEqual(texts.map((text) => hashedEmbedding(text, DIMENSIONS)));
  });

  it("calls nobody for no text", async () => {
    expect(await embed("m", [])).toEqual([]);
    expect(double.requestCount).toBe(0);
  });

  it("sends many texts in calls of bounded size, and keeps their order", async () => {
    const texts = Array.from({ length: 300 }, (_, index) => `text number ${index}`);
    const vectors = await embed("m", texts);
    expect(vectors).toEqual(texts.map((text) => hashedEmbedding(text, DIMENSIONS)));
    const sizes = double.requests.map((request) => request.body.input.length);
    expect(Math.max(...sizes)).toBeLessThanOrEqual(128);
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(300);
  });

  it("sends long texts in calls of bounded size", async () => {
    await embed(
      "m",
      Array.from({ length: 10 }, () => "x".repeat(60_000)),
    );
    for (const { body } of double.requests) expect(body.input.join("").length).toBeLessThanOrEqual(200_000);
  });

  it.each<[string, ModelFailureReason]>([
    ["wrong-count", "garbled"],
    ["mixed-length", "garbled"],
    ["nan", "garbled"],
    ["no-numbers", "garbled"],
    ["empty-vector", "garbled"],
    ["context-length", "context-window"],
    ["status-401", "provider-credentials"],
    ["status-404", "model-not-found"],
    ["status-502", "provider-unavailable"],
    ["rate-limited", "rate-limited"],
  ])("fails on %s as %s", async (fault, reason) => {
    await expect(embed(fault, ["one", "two"])).rejects.toMatchObject({ reason });
  });

  it("closes the connection and throws the signal's reason when it aborts", async () => {
    const controller = new AbortController();
    const vectors = embed("silent", ["one"], controller.signal);
    vectors.catch(() => {});
    await expect.poll(() => double.requestCount, { interval: 5 }).toBe(1);
    controller.abort("changed my mind");
    await expect(vectors).rejects.toBe("changed my mind");
    expect(await double.lastRequest.closed).toBe("early");
  });
});

describe("particulars", () => {
  it("of Ollama: a long text is refused, never cut in silence", async () => {
    const double = await startOllamaDouble();
    await new OllamaEmbeddingModel({ providerId: "ollama", model: "m", server: { host: double.url } }).embed(
      ["x"],
      neverAborted(),
    );
    expect(double.lastRequest.body.truncate).toBe(false);
    await double.close();
  });

  it("of OpenAI: vectors go by their index, not by their place", async () => {
    const double = await startOpenaiDouble({ dimensions: DIMENSIONS });
    const client = openaiClientSource({ baseUrl: double.baseUrl });
    const model = new OpenaiEmbeddingModel({ providerId: "openai", model: "reversed", client });
    const vectors = await model.embed(["one", "two", "three"], neverAborted());
    expect(vectors[0]).toEqual(hashedEmbedding("one", DIMENSIONS));
    await double.close();
  });
});

describe("the check", () => {
  const base64 = (...numbers: number[]) => Buffer.from(Float32Array.from(numbers).buffer).toString("base64");

  it("takes numbers and base64", () => {
    expect(checkEmbeddings([[1, 2], base64(3, 4)], 2)).toEqual([
      Float32Array.of(1, 2),
      Float32Array.of(3, 4),
    ]);
  });

  it.each<[string, unknown]>([
    ["no list", undefined],
    ["an object", { 0: [1] }],
    ["a vector too few", []],
    ["null for a vector", [null]],
    ["an empty vector", [[]]],
    ["an empty text", [""]],
    ["a string for a number", [["1"]]],
    ["null for a number", [[null]]],
    ["a number too big for float32", [[1e300]]],
    ["NaN in base64", [base64(Number.NaN)]],
    ["infinity in base64", [base64(Number.POSITIVE_INFINITY)]],
    ["base64 of another length", ["AAAA"]],
    ["text that is not base64", ["not base64!"]],
    ["base64 with something after it", [`${base64(1)}!`]],
    ["a vector of another length than known", [[1, 2, 3]]],
    ["a huge vector", [new Array(100_000).fill(0)]],
  ])("refuses %s", (_, vectors) => {
    expect(() => checkEmbeddings(vectors, 1, 2)).toThrow(expect.objectContaining({ reason: "garbled" }));
  });
});
