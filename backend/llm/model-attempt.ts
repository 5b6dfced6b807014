/** One call of one model, measured and judged: an answer that may be shown, or a failure. */
import type { ParleyError } from "../../core/errors/parley-error.ts";
import type { Clock } from "../../core/resilience/deadline.ts";
import type { AnswerEvent, ModelAttempt, ModelLink } from "./answer-event.ts";
import { estimateUsage } from "./estimate-usage.ts";
import { guardStream } from "./guard-stream.ts";
import type { FinishReason, ModelRequest, ModelUsage } from "./language-model.ts";
import { modelFailure, modelFailureReasonOf } from "./model-failure.ts";

/** Longest answer, characters; a model that does not stop must not fill the memory. */
export const ANSWER_CHARACTERS_MAX = 2 * 1024 * 1024;

/** What is called, and within what. */
export interface AttemptOptions {
  readonly link: ModelLink;
  readonly request: ModelRequest;
  /** What is left for the call, at most the link's own limit. */
  readonly totalTimeoutMs: number;
  readonly signal: AbortSignal;
  readonly now: Clock;
  /** What goes out for a piece of text. */
  readonly toEvents: (text: string) => Iterable<AnswerEvent>;
}

/** How it went: `answer` or `failure`. */
export type AttemptResult =
  | { readonly attempt: ModelAttempt; readonly answer: AttemptAnswer; readonly failure?: undefined }
  | { readonly attempt: ModelAttempt; readonly failure: ParleyError; readonly hadText: boolean };

/** The answer of an attempt. */
export interface AttemptAnswer {
  readonly text: string;
  readonly finishReason: FinishReason;
  readonly usage: ModelUsage;
}

/** Yields the text as it comes and returns how it went. Throws only the reason of the caller's signal. */
export async function* attemptModel(options: AttemptOptions): AsyncGenerator<AnswerEvent, AttemptResult> {
  const { link, request, totalTimeoutMs, signal, now, toEvents } = options;
  const startedAtMs = now();
  let text = "";
  let firstTokenMs: number | undefined;
  let usage: ModelUsage | undefined;
  let finishReason: FinishReason = "stop";
  const attemptWith = (outcome: ModelAttempt["outcome"], cost: ModelUsage | undefined): ModelAttempt => ({
    model: link.model.id,
    outcome,
    durationMs: now() - startedAtMs,
    ...(firstTokenMs === undefined ? {} : { firstTokenMs }),
    ...(cost === undefined ? {} : { usage: cost }),
  });
  try {
    for await (const event of guardStream(link.model, request, { ...link, totalTimeoutMs, signal })) {
      if (event.type === "usage") usage = event.usage;
      else if (event.type === "finish") finishReason = event.reason;
      else if (event.type === "text-delta") {
        firstTokenMs ??= now() - startedAtMs;
        text += event.text;
        if (text.length > ANSWER_CHARACTERS_MAX) throw modelFailure("answer-too-long");
        yield* toEvents(event.text);
      }
    }
    judge(text, finishReason);
    usage ??= estimateUsage(request.messages, text);
    return { attempt: attemptWith("answered", usage), answer: { text, finishReason, usage } };
  } catch (error) {
    const reason = modelFailureReasonOf(error);
    if (reason === undefined) throw error;
    const cost = usage ?? (text ? estimateUsage(request.messages, text) : undefined);
    return { attempt: attemptWith(reason, cost), failure: error as ParleyError, hadText: text !== "" };
  }
}

/** A stream that ended well may still be no answer. */
function judge(text: string, finishReason: FinishReason): void {
  if (finishReason === "content-filter") {
    throw modelFailure("content-policy", { providerCode: "content_filter" });
  }
  if (text.trim() === "") throw modelFailure("empty-answer");
}
