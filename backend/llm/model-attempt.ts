/** One call of one model, measured and judged: an answer that may be shown, or a failure. */
import { ParleyError } from "../../core/errors/parley-error.ts";
import type { Clock } from "../../core/resilience/deadline.ts";
import type { AnswerEvent, AttemptOutcome, ModelAttempt, ModelLink } from "./answer-event.ts";
import type { HowItWent } from "./call-verdict.ts";
import { estimateUsage } from "./estimate-usage.ts";
import { guardStream } from "./guard-stream.ts";
import type { FinishReason, ModelFailureReason, ModelRequest, ModelUsage } from "./language-model.ts";
import { modelFailure, modelFailureReasonOf } from "./model-failure.ts";

/** Longest answer, characters; a model that does not stop must not fill the memory. */
export const ANSWER_CHARACTERS_MAX = 2 * 1024 * 1024;

/** Why the slower of two calls is aborted. */
export const FASTER_MODEL_ANSWERED = new ParleyError("canceled", "another model was faster", {
  reason: "faster-model-answered",
});

/** What is called, and within what. */
export interface AttemptOptions {
  readonly link: ModelLink;
  readonly request: ModelRequest;
  /** What is left for the call, at most the link's own limit. */
  readonly totalTimeoutMs: number;
  readonly signal: AbortSignal;
  readonly now: Clock;
  /** When the answer was begun, by `now`. */
  readonly answerStartedAtMs: number;
  /** What goes out for a piece of text. */
  readonly toEvents: (text: string) => Iterable<AnswerEvent>;
  /** The model has begun to answer. */
  readonly onFirstToken: () => void;
  /** Told exactly once, however the call ends. */
  readonly onEnd: (how: HowItWent) => void;
}

/** How it went: `answer` or `failure`. */
export type AttemptResult =
  | { readonly answer: AttemptAnswer; readonly failure?: undefined }
  | { readonly failure: ParleyError; readonly hadText: boolean };

/** The answer of an attempt. */
export interface AttemptAnswer {
  readonly text: string;
  readonly finishReason: FinishReason;
  readonly usage: ModelUsage;
}

/** Yields the text as it comes and returns how it went. Throws only the reason of the caller's signal. */
export async function* attemptModel(options: AttemptOptions): AsyncGenerator<AnswerEvent, AttemptResult> {
  const { link, request, totalTimeoutMs, signal, toEvents } = options;
  const call = new Call(options);
  try {
    for await (const event of guardStream(link.model, request, { ...link, totalTimeoutMs, signal })) {
      if (event.type === "usage") call.usage = event.usage;
      else if (event.type === "finish") call.finishReason = event.reason;
      else if (event.type === "text-delta") {
        call.take(event.text);
        yield* toEvents(event.text);
      }
    }
    return { answer: call.answered() };
  } catch (error) {
    if (modelFailureReasonOf(error) === undefined) throw error;
    call.failed(error as ParleyError);
    return { failure: error as ParleyError, hadText: call.text !== "" };
  } finally {
    call.cutOff();
  }
}

/** The measure of one call; the first of its three ends counts. */
class Call {
  text = "";
  usage: ModelUsage | undefined;
  finishReason: FinishReason = "stop";
  readonly #options: AttemptOptions;
  readonly #startedAtMs: number;
  #firstTokenMs: number | undefined;
  #ended = false;

  constructor(options: AttemptOptions) {
    this.#options = options;
    this.#startedAtMs = options.now();
  }

  take(text: string): void {
    if (this.#firstTokenMs === undefined) {
      this.#firstTokenMs = this.#sinceMs();
      this.#options.onFirstToken();
    }
    this.text += text;
    if (this.text.length > ANSWER_CHARACTERS_MAX) throw modelFailure("answer-too-long");
  }

  /** The stream ended well. Throws a model failure when it is no answer all the same. */
  answered(): AttemptAnswer {
    if (this.finishReason === "content-filter") {
      throw modelFailure("content-policy", { providerCode: "content_filter" });
    }
    if (this.text.trim() === "") throw modelFailure("empty-answer");
    const usage = this.usage ?? this.#estimate();
    this.#end("answered", usage);
    return { text: this.text, finishReason: this.finishReason, usage };
  }

  failed(failure: ParleyError): void {
    const reason = failure.reason as ModelFailureReason;
    const isLate = reason === "first-token-timeout" || reason === "stalled";
    const wasCutByDeadline = isLate && this.#isDeadlineOver();
    const mayCost = this.text !== "" || BILLED_WITHOUT_TEXT.has(reason);
    const usage = this.usage ?? (mayCost ? this.#estimate() : undefined);
    this.#end(wasCutByDeadline ? "abandoned" : reason, usage, failure);
  }

  /** Neither came: the caller's signal aborted, or nobody reads on. Its prompt is as good as paid for. */
  cutOff(): void {
    const { reason } = this.#options.signal;
    const isCanceled =
      reason instanceof ParleyError && reason.code === "canceled" && reason !== FASTER_MODEL_ANSWERED;
    this.#end(isCanceled ? "canceled" : "abandoned", this.usage ?? this.#estimate());
  }

  /** Whether it was the request's limit that ended the call, not one of the link's. */
  #isDeadlineOver(): boolean {
    const { link, totalTimeoutMs } = this.#options;
    return totalTimeoutMs < link.totalTimeoutMs && this.#sinceMs() >= totalTimeoutMs - 1;
  }

  #estimate(): ModelUsage {
    return estimateUsage(this.#options.request.messages, this.text);
  }

  #end(outcome: AttemptOutcome, usage: ModelUsage | undefined, failure?: ParleyError): void {
    if (this.#ended) return;
    this.#ended = true;
    const attempt: ModelAttempt = {
      model: this.#options.link.model.id,
      outcome,
      startedAfterMs: this.#startedAtMs - this.#options.answerStartedAtMs,
      durationMs: this.#sinceMs(),
      ...(this.#firstTokenMs === undefined ? {} : { firstTokenMs: this.#firstTokenMs }),
      ...(usage === undefined ? {} : { usage }),
    };
    this.#options.onEnd({ attempt, failure });
  }

  #sinceMs(): number {
    return this.#options.now() - this.#startedAtMs;
  }
}

/** The provider had taken the request up: it has read the prompt, and counts that. */
const BILLED_WITHOUT_TEXT: ReadonlySet<ModelFailureReason> = new Set<ModelFailureReason>([
  "first-token-timeout",
  "stalled",
  "truncated",
  "garbled",
  "empty-answer",
]);
