/**
 * Which embedding models this deployment has: the one that new collections get, and any other by the id that a
 * collection was built with. Knows providers, makes no calls but to measure a model's vectors once.
 */

import { ParleyError } from "../../core/errors/parley-error.ts";
import { DIMENSION_MAX } from "../knowledge/vector-index.ts";
import {
  BUILTIN_EMBEDDING_DIMENSION,
  BUILTIN_EMBEDDING_MODEL_ID,
  BuiltinEmbeddingModel,
} from "./builtin-embedding-model.ts";
import type { EmbeddingModel } from "./embedding-model.ts";
import type { ModelsConfig } from "./model-registry.ts";
import { OllamaEmbeddingModel } from "./ollama-embedding-model.ts";
import { type OpenaiClientSource, openaiClientSource } from "./openai-client.ts";
import { OpenaiEmbeddingModel } from "./openai-embedding-model.ts";

/** What `EMBEDDING_MODEL` may be: `builtin`, or a provider and a model of its. */
export const EMBEDDING_MODEL_PATTERN = /^(?:builtin|builtin\/lexical-1|(?:openai|ollama)\/\S{1,200})$/;

/** What the registry works with. */
export interface EmbeddingModelsOptions {
  readonly config: ModelsConfig;
  /** See {@link EMBEDDING_MODEL_PATTERN}; undefined: builtin. */
  readonly embeddingModel: string | undefined;
  readonly fetch?: typeof fetch | undefined;
}

/** The embedding models of one deployment. */
export class EmbeddingModels {
  readonly #options: EmbeddingModelsOptions;
  readonly #builtin = new BuiltinEmbeddingModel();
  readonly #openai: OpenaiClientSource | undefined;
  /** Id of the model that new collections get. */
  readonly currentId: string;
  #dimension: number | undefined;

  constructor(options: EmbeddingModelsOptions) {
    const { config, embeddingModel, fetch } = options;
    const { apiKey, baseUrl } = config.openai ?? {};
    this.#options = options;
    this.#openai = apiKey || baseUrl ? openaiClientSource({ apiKey, baseUrl, fetch }) : undefined;
    const isBuiltin = embeddingModel === undefined || embeddingModel.startsWith("builtin");
    this.currentId = isBuiltin ? BUILTIN_EMBEDDING_MODEL_ID : embeddingModel;
    if (isBuiltin) this.#dimension = BUILTIN_EMBEDDING_DIMENSION;
  }

  /** The model of this id; undefined when this deployment has not the provider that it is of. */
  find(id: string): EmbeddingModel | undefined {
    if (id === BUILTIN_EMBEDDING_MODEL_ID) return this.#builtin;
    const slash = id.indexOf("/");
    const [providerId, model] = [id.slice(0, slash), id.slice(slash + 1)];
    const { config, fetch } = this.#options;
    if (providerId === "ollama") {
      return new OllamaEmbeddingModel({ providerId, model, server: { host: config.ollama.host, fetch } });
    }
    if (providerId !== "openai" || !this.#openai) return undefined;
    return new OpenaiEmbeddingModel({ providerId, model, client: this.#openai });
  }

  /**
   * The model that new collections get, and the length of its vectors, for which it is asked once.
   *
   * @throws ParleyError `unavailable` when it cannot be asked; `failed_precondition` when its vectors are too long
   */
  async current(signal: AbortSignal): Promise<{ embeddingModel: string; dimension: number }> {
    const dimension = this.#dimension ?? (await this.#measure(signal));
    if (dimension > DIMENSION_MAX) {
      throw new ParleyError(
        "failed_precondition",
        `the embedding model ${this.currentId} has ${dimension} dimensions; at most ${DIMENSION_MAX} can be indexed`,
      );
    }
    this.#dimension = dimension;
    return { embeddingModel: this.currentId, dimension };
  }

  async #measure(signal: AbortSignal): Promise<number> {
    try {
      const [vector] = (await this.find(this.currentId)?.embed(["dimension"], signal)) ?? [];
      if (vector) return vector.length;
    } catch (cause) {
      signal.throwIfAborted();
      throw this.#unavailable(cause);
    }
    throw this.#unavailable();
  }

  #unavailable(cause?: unknown): ParleyError {
    return new ParleyError(
      "unavailable",
      "the embedding model does not answer, and without it no collection can be made; try again later",
      { reason: "embedding-unavailable", retryable: true, retryAfterMs: 10_000, cause },
    );
  }
}
