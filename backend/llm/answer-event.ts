/** What the manager is given and what it gives: the types between agents and models. */
import type { Deadline } from "../../core/resilience/deadline.ts";
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
}

/** What is asked of the manager. */
export interface AnswerOptions {
  /** In order of preference; may be empty. */
  readonly chain: readonly ModelLink[];
  readonly request: Omit<ModelRequest, "parameters" | "presetReply">;
  readonly presetReply: string;
  /** For the whole answer, all attempts and waits included. */
  readonly deadline: Deadline;
  readonly signal: AbortSignal;
}

/** One call of one model, as it went. */
export interface ModelAttempt {
  readonly model: string;
  readonly outcome: "answered" | ModelFailureReason;
  readonly durationMs: number;
  /** From the call to the first piece of text; missing when none came. */
  readonly firstTokenMs?: number;
  /** What the call cost, estimated for a failed one that had begun to answer. */
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
