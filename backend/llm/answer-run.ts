/** One way through an agent's models: what is left to ask, what has been tried, and what of the text that is out is void. */
import type { ParleyError } from "../../core/errors/parley-error.ts";
import {
  type AnswerEvent,
  type AnswerOptions,
  type ModelAttempt,
  type ModelLink,
  PRESET_MODEL_ID,
} from "./answer-event.ts";
import { knownContextTokensOf } from "./context-window.ts";
import { estimateUsage } from "./estimate-usage.ts";
import type { ModelFailureReason } from "./language-model.ts";
import type { AttemptAnswer } from "./model-attempt.ts";

/** Failures that the caller can do something about, and so learns of when no model is left. */
type RefusalReason = "context-window" | "content-policy";

/** The state of one answer. */
export class AnswerRun {
  readonly attempts: ModelAttempt[] = [];
  readonly #options: AnswerOptions;
  #links: ModelLink[];
  /** Fallbacks of these kinds have been turned to; each is at most once. */
  readonly #turnedTo = new Set<RefusalReason>();
  /** Models that will not answer this request; a chain may name one twice. */
  readonly #givenUp = new Set<string>();
  /** Links that were passed over, because their models are left alone at the moment. */
  #passedOver: ModelLink[] = [];
  /** Calls made, by link. */
  readonly #calls = new Map<ModelLink, number>();
  #voidBecause: ModelFailureReason | undefined;
  #refusal: ParleyError | undefined;

  constructor(options: AnswerOptions) {
    this.#options = options;
    this.#links = [...options.chain];
  }

  /** Why no model can answer, when that lies with what was asked; undefined when it does not. */
  get refusal(): ParleyError | undefined {
    return this.#refusal;
  }

  /** Calls made so far, of all links. */
  get callsMade(): number {
    return [...this.#calls.values()].reduce((sum, calls) => sum + calls, 0);
  }

  callsOf(link: ModelLink): number {
    return this.#calls.get(link) ?? 0;
  }

  /** A call of this link is made. */
  called(link: ModelLink): void {
    this.#calls.set(link, this.callsOf(link) + 1);
  }

  /** The links after the current one that may answer, in order. */
  upcoming(): ModelLink[] {
    return this.#links.filter((link) => !this.#givenUp.has(link.model.id));
  }

  /** The next model that may answer. */
  next(): ModelLink | undefined {
    for (;;) {
      const link = this.#links.shift();
      if (!link || !this.#givenUp.has(link.model.id)) return link;
    }
  }

  /** This link is having its turn now. */
  take(link: ModelLink): void {
    this.#links = this.#links.filter((other) => other !== link);
  }

  /** A link that was taken is to be the next one again: it has not had its turn. */
  putBack(link: ModelLink): void {
    this.#links.unshift(link);
  }

  passOver(link: ModelLink): void {
    this.#passedOver.push(link);
    this.#isAway();
  }

  /** Links that were passed over and may answer after all, in order; each is given once. */
  takePassedOver(): ModelLink[] {
    return this.#passedOver.splice(0).filter((link) => !this.#givenUp.has(link.model.id));
  }

  /** An attempt failed; what it said is void. */
  failed(link: ModelLink, { failure, hadText }: { failure: ParleyError; hadText: boolean }): void {
    const reason = failure.reason as ModelFailureReason;
    if (!failure.retryable) this.#givenUp.add(link.model.id);
    if (hadText) this.#voidBecause = reason;
    if (reason === "content-policy") {
      this.#refusal = failure;
      this.#turnTo(reason, this.#options.contentPolicyFallbacks ?? [], []);
      this.#passedOver = [];
    } else if (reason === "context-window") {
      this.#refusal ??= failure;
      const larger = this.#largerThan(link);
      this.#turnTo(reason, this.#options.contextWindowFallbacks ?? [], this.#links.filter(larger));
      this.#passedOver = this.#passedOver.filter(larger);
      if (this.#passedOver.length > 0) this.#isAway();
    } else {
      this.#isAway();
    }
  }

  /** A model that might have taken the text did not answer. It may be back soon: the text is not to blame. */
  #isAway(): void {
    if (this.#refusal?.reason === "context-window") this.#refusal = undefined;
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

  /**
   * Goes on with the fallbacks for a refusal. Once they are what is left, another refusal goes on to the next of
   * them; where there are none, with `otherwise`.
   */
  #turnTo(reason: RefusalReason, fallbacks: readonly ModelLink[], otherwise: readonly ModelLink[]): void {
    if (fallbacks.length === 0) this.#links = [...otherwise];
    else if (!this.#turnedTo.has(reason)) this.#links = [...fallbacks];
    this.#turnedTo.add(reason);
  }

  /** Whether a link is known to take more than this one; if nothing is known of this one, more than was asked. */
  #largerThan(refusing: ModelLink): (link: ModelLink) => boolean {
    const { messages } = this.#options.request;
    const asked = estimateUsage(refusing.messages ?? messages, "").inputTokens;
    const tokensMin = knownContextTokensOf(refusing) ?? asked;
    return (link) => (knownContextTokensOf(link) ?? 0) > tokensMin;
  }
}
