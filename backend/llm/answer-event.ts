/** What the manager is given and what it gives: the types between agents and models. */
import type { Deadline } from "../../core/resilience/deadline.ts";
import type { ConcurrencyGate } from "./concurrency-gate.ts";
import type {
  FinishReason,
  LanguageModel,
  ModelFailureReason,
  ModelMessage,
  ModelParameters,
  ModelRequest,
  ModelUsage,
} from "./language-model.ts";

/** One link of a chain of models, ready to be asked. Limits are those of one attempt. */
export interface ModelLink {
  readonly model: LanguageModel;
  /** Tries on this model, the first included. */
  readonly attemptsMax: number;
  readonly firstTokenTimeoutMs: number;
  readonly idleTimeoutMs: number;
  readonly totalTimeoutMs: number;
  readonly parameters: ModelParameters;
  /** How much the model takes, prompt and answer together, tokens; undefined when the agent does not say. */
  readonly contextTokens?: number | undefined;
  /** The conversation as it fits this model; that of the request when undefined. */
  readonly messages?: readonly ModelMessage[] | undefined;
  /** Of the model's host, where it takes only so many calls at once. */
  readonly gate?: ConcurrencyGate | undefined;
}

/** What is asked of the manager. */
export interface AnswerOptions {
  /** In order of preference; may be empty. */
  readonly chain: readonly ModelLink[];
  /** Asked instead of the rest once the text is too long for a model. Default none. */
  readonly contextWindowFallbacks?: readonly ModelLink[] | undefined;
  /** Asked instead of the rest once a provider has refused the content. Default none. */
  readonly contentPolicyFallbacks?: readonly ModelLink[] | undefined;
  /** Whether a second model is asked, too, when the first has not begun to answer after so long. */
  readonly hedge?: { readonly afterMs: number } | undefined;
  readonly request: Omit<ModelRequest, "parameters" | "presetReply">;
  readonly presetReply: string;
  /** For the whole answer, all attempts and waits included. */
  readonly deadline: Deadline;
  readonly signal: AbortSignal;
}

/**
 * How a call of a model ended.
 *
 * - `canceled`: the caller canceled. `abandoned`: its time was up, or another model was faster.
 * - `circuit-open`, `host-busy`: it was not made, because the model is left alone for a while, or its host had as
 *   many calls as it may have.
 */
export type AttemptOutcome =
  | "answered"
  | ModelFailureReason
  | "canceled"
  | "abandoned"
  | "circuit-open"
  | "host-busy";

/** One call of one model, as it went. */
export interface ModelAttempt {
  readonly model: string;
  readonly outcome: AttemptOutcome;
  /** From the beginning of the answer to the call. */
  readonly startedAfterMs: number;
  readonly durationMs: number;
  /** From the call to the first piece of text; missing when none came. */
  readonly firstTokenMs?: number;
  /** What the call cost; estimated for one that ended early, and missing for one that cost nothing. */
  readonly usage?: ModelUsage;
}

/** A whole answer. */
export interface Answer {
  readonly text: string;
  /** The model that gave it, or {@link PRESET_MODEL_ID}. */
  readonly model: string;
  readonly finishReason: FinishReason;
  /** Of the attempt that answered; failed ones are in `attempts` only. */
  readonly usage: ModelUsage;
  /** Set when no model answered. */
  readonly degraded?: "preset-reply";
  /** All of them, in order. */
  readonly attempts: readonly ModelAttempt[];
}

/** The name in place of a model's when the preset reply is given. */
export const PRESET_MODEL_ID = "preset";

/**
 * What happens to an answer on its way. The text since the last `restart` (or the beginning) is the answer's;
 * what was before it is void. Exactly one `finish`, as the last event.
 */
export type AnswerEvent =
  | { readonly type: "text-delta"; readonly text: string }
  | { readonly type: "restart"; readonly reason: ModelFailureReason }
  | { readonly type: "finish"; readonly answer: Answer };
