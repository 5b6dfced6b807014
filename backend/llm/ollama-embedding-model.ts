/** Embeddings of an Ollama server, by its own API; its vectors are normalised already. */
import { embedInBatches } from "./embed-in-batches.ts";
import type { EmbeddingModel } from "./embedding-model.ts";
import { type OllamaServer, ollamaClient } from "./ollama-client.ts";
import { transportFailure } from "./transport-failure.ts";

/** Small, because the server embeds one text after the other and nothing is saved of a call that is aborted. */
const BATCH_LIMITS = { textsMax: 32, charactersMax: 100_000 };

/** Which model, where. */
export interface OllamaEmbeddingModelOptions {
  readonly providerId: string;
  readonly model: string;
  readonly server: OllamaServer;
}

/** One embedding model of an Ollama server. */
export class OllamaEmbeddingModel implements EmbeddingModel {
  readonly id: string;
  readonly #model: string;
  readonly #server: OllamaServer;

  constructor({ providerId, model, server }: OllamaEmbeddingModelOptions) {
    this.id = `${providerId}/${model}`;
    this.#model = model;
    this.#server = server;
  }

  embed(texts: readonly string[], signal: AbortSignal): Promise<Float32Array[]> {
    return embedInBatches(texts, BATCH_LIMITS, (batch) => this.#embedBatch(batch, signal));
  }

  async #embedBatch(batch: readonly string[], signal: AbortSignal): Promise<unknown> {
    signal.throwIfAborted();
    try {
      const client = await ollamaClient({ server: this.#server, signal });
      // Without `truncate: false` the server cuts a long text in silence.
      const response = await client.embed({ model: this.#model, input: [...batch], truncate: false });
      return response?.embeddings;
    } catch (error) {
      signal.throwIfAborted();
      throw transportFailure(error, { answering: false });
    }
  }
}
