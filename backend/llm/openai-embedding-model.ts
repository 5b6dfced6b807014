/** Embeddings of OpenAI-compatible servers. Takes both encodings, whichever was asked for. */
import type OpenAI from "openai";
import { embedInBatches } from "./embed-in-batches.ts";
import type { EmbeddingModel } from "./embedding-model.ts";
import { modelFailure } from "./model-failure.ts";
import { isOpenaiOwn, type OpenaiClientSource } from "./openai-client.ts";
import { openaiFailure } from "./openai-failure.ts";

/** OpenAI takes 2048 texts and 300,000 tokens in one call; smaller servers take less. */
const BATCH_LIMITS = { textsMax: 128, charactersMax: 200_000 };

/** Which model, where. */
export interface OpenaiEmbeddingModelOptions {
  readonly providerId: string;
  readonly model: string;
  readonly client: OpenaiClientSource;
}

/** One embedding model of an OpenAI-compatible server. */
export class OpenaiEmbeddingModel implements EmbeddingModel {
  readonly id: string;
  readonly #model: string;
  readonly #client: OpenaiClientSource;

  constructor({ providerId, model, client }: OpenaiEmbeddingModelOptions) {
    this.id = `${providerId}/${model}`;
    this.#model = model;
    this.#client = client;
  }

  embed(texts: readonly string[], signal: AbortSignal): Promise<Float32Array[]> {
    return embedInBatches(texts, BATCH_LIMITS, (batch) => this.#embedBatch(batch, signal));
  }

  async #embedBatch(batch: readonly string[], signal: AbortSignal): Promise<unknown[]> {
    signal.throwIfAborted();
    const state: { answering: false; secret?: string } = { answering: false };
    try {
      const client = await this.#client();
      if (client.apiKey) state.secret = client.apiKey;
      const request = {
        model: this.#model,
        input: [...batch],
        encoding_format: encodingFor(client),
      } satisfies OpenAI.EmbeddingCreateParams;
      const response: { data?: unknown } = await client.embeddings.create(request, { signal });
      return inOrder(response.data);
    } catch (error) {
      signal.throwIfAborted();
      throw openaiFailure(error, state);
    }
  }
}

/**
 * Named in any case: without it the SDK asks for base64 and decodes, unchecked, what comes. Base64 is a third
 * of the size, but not every compatible server knows the word.
 */
function encodingFor(client: OpenAI): "base64" | "float" {
  return isOpenaiOwn(client.baseURL) ? "base64" : "float";
}

/** The vectors by their `index`, where the server gives one. */
function inOrder(data: unknown): unknown[] {
  if (!Array.isArray(data)) throw modelFailure("garbled");
  const vectors = new Array<unknown>(data.length).fill(undefined);
  for (const [position, item] of data.entries()) {
    const { index = position, embedding } = (item ?? {}) as { index?: unknown; embedding?: unknown };
    if (typeof index !== "number" || !(index in vectors)) throw modelFailure("garbled");
    vectors[index] = embedding;
  }
  return vectors;
}
