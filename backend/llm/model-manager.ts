/**
 * The policy of answering: which model is asked, how often, how long, and what is said when none answers. Knows
 * models only by their port; what went wrong, and whether the same model may be asked again, is in the failure.
 */
import type { ParleyError } from "../../core/errors/parley-error.ts";
import type { Clock } from "../../core/resilience/deadline.ts";
import { fullJitterMs } from "../../core/resilience/full-jitter.ts";
import type { AnswerEvent, AnswerOptions, ModelAttempt, ModelLink } from "./answer-event.ts";
import { AnswerRun } from "./answer-run.ts";
import { type AttemptResult, attemptModel } from "./model-attempt.ts";

/** Between two tries of one model. */
const BACKOFF = { baseMs: 250, capMs: 2_000 };
/** Longest wait for the same model; beyond it the next one is asked instead. */
export const RETRY_WAIT_MS_MAX = 5_000;
/** Kept of the deadline so that the preset reply can still be delivered and recorded. */
export const PRESET_RESERVE_MS = 200;

/** All that the manager touches beside models. */
export interface ModelManagerOptions {
  readonly now: Clock;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  /** Rejects with the signal's reason when it aborts. */
  readonly sleep: (delayMs: number, signal: AbortSignal) => Promise<void>;
  /** Told of every attempt when it is over; `failure` has the cause. Not told of one that the caller aborted. */
  readonly onAttempt?: (attempt: ModelAttempt, failure?: ParleyError) => void;
}

/** Asks the models of a chain until one answers. Without state: one serves all agents. */
export class ModelManager {
  readonly #options: ModelManagerOptions;

  constructor(options: ModelManagerOptions) {
    this.#options = options;
  }

  /**
   * The answer as it comes. A model is tried again, after a full-jitter wait, while its failures are retryable
   * and no text is out (or no other model is left); otherwise the next one answers from the start, after a
   * `restart` if text is out. When the chain or the deadline is used up, the preset reply is the answer.
   * Throws only the reason of `signal`.
   */
  async *answer(options: AnswerOptions): AsyncGenerator<AnswerEvent> {
    const { chain, presetReply, deadline, signal } = options;
    const run = new AnswerRun(chain);
    const leftMs = () => deadline.remainingMs() - PRESET_RESERVE_MS;
    for (let link = run.next(); link; link = run.next()) {
      for (let number = 1; leftMs() > 0; number += 1) {
        const result = yield* this.#attempt(link, leftMs(), options, run);
        run.attempts.push(result.attempt);
        this.#options.onAttempt?.(result.attempt, result.failure);
        if (!result.failure) return yield run.answered(link, result.answer);
        run.failed(link, result);
        if (result.hadText && run.hasNext()) break;
        const waitMs = this.#retryWaitMs(result.failure, number, link);
        if (waitMs >= leftMs()) break;
        await this.#options.sleep(waitMs, signal);
      }
    }
    signal.throwIfAborted();
    yield* run.degraded(presetReply);
  }

  #attempt(
    link: ModelLink,
    leftMs: number,
    { request, presetReply, signal }: AnswerOptions,
    run: AnswerRun,
  ): AsyncGenerator<AnswerEvent, AttemptResult> {
    return attemptModel({
      link,
      request: {
        ...request,
        messages: link.messages ?? request.messages,
        parameters: link.parameters,
        presetReply,
      },
      totalTimeoutMs: Math.min(link.totalTimeoutMs, leftMs),
      signal,
      now: this.#options.now,
      toEvents: (text) => run.events(text),
    });
  }

  /** Infinity when the same model is not to be asked again. */
  #retryWaitMs(failure: ParleyError, number: number, link: ModelLink): number {
    if (!failure.retryable || number >= link.attemptsMax) return Number.POSITIVE_INFINITY;
    const waitMs = fullJitterMs(number, BACKOFF, this.#options.random, failure.retryAfterMs);
    return waitMs <= RETRY_WAIT_MS_MAX ? waitMs : Number.POSITIVE_INFINITY;
  }
}
