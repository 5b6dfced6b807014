/** One way through a chain of models: what has been tried, and what of the text that is out is void. */
import type { ParleyError } from "../../core/errors/parley-error.ts";
import { type AnswerEvent, type ModelAttempt, type ModelLink, PRESET_MODEL_ID } from "./answer-event.ts";
import type { ModelFailureReason } from "./language-model.ts";
import type { AttemptAnswer } from "./model-attempt.ts";

/** The state of one answer. */
export class AnswerRun {
  readonly attempts: ModelAttempt[] = [];
  readonly #links: ModelLink[];
  /** Models that will not answer this request; a chain may name one twice. */
  readonly #givenUp = new Set<string>();
  #voidBecause: ModelFailureReason | undefined;

  constructor(chain: readonly ModelLink[]) {
    this.#links = [...chain];
  }

  /** Whether a model is left after the current one. */
  hasNext(): boolean {
    return this.#links.some((link) => !this.#givenUp.has(link.model.id));
  }

  /** The next model that may answer. */
  next(): ModelLink | undefined {
    for (;;) {
      const link = this.#links.shift();
      if (!link || !this.#givenUp.has(link.model.id)) return link;
    }
  }

  /** An attempt failed; what it said is void. */
  failed(link: ModelLink, { failure, hadText }: { failure: ParleyError; hadText: boolean }): void {
    if (!failure.retryable) this.#givenUp.add(link.model.id);
    if (hadText) this.#voidBecause = failure.reason as ModelFailureReason;
  }

  /** A piece of text as it goes out: after a `restart` if what is out is void. */
  *events(text: string): Generator<AnswerEvent> {
    if (this.#voidBecause) yield { type: "restart", reason: this.#voidBecause };
    this.#voidBecause = undefined;
    yield { type: "text-delta", text };
  }

  /** The end, when a model answered. */
  answered(link: ModelLink, answer: AttemptAnswer): AnswerEvent {
    return { type: "finish", answer: { ...answer, model: link.model.id, attempts: this.attempts } };
  }

  /** The end, when none did. */
  *degraded(presetReply: string): Generator<AnswerEvent> {
    yield* this.events(presetReply);
    const answer = {
      text: presetReply,
      model: PRESET_MODEL_ID,
      finishReason: "stop",
      usage: { inputTokens: 0, outputTokens: 0 },
      degraded: "preset-reply",
      attempts: this.attempts,
    } as const;
    yield { type: "finish", answer };
  }
}
