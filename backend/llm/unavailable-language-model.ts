/** Stands in a chain for a model that this deployment does not have, so that the chain goes on to the next. */
import type { LanguageModel, ModelEvent, ModelFailureReason } from "./language-model.ts";
import { modelFailure } from "./model-failure.ts";

/** A model whose every call fails at once with the same reason. */
export class UnavailableLanguageModel implements LanguageModel {
  readonly id: string;
  readonly #reason: ModelFailureReason;

  constructor(id: string, reason: ModelFailureReason) {
    this.id = id;
    this.#reason = reason;
  }

  // biome-ignore lint/correctness/useYield: a stream that only fails is still a stream
  async *stream(): AsyncGenerator<ModelEvent> {
    throw modelFailure(this.#reason);
  }
}
