/**
 * What one call says about the model that was called. Everybody shares what is learnt from it, so nothing that a
 * single caller or agent decides may count: its deadline, its impatience, its content.
 */
import type { ParleyError } from "../../core/errors/parley-error.ts";
import type { ModelAttempt } from "./answer-event.ts";
import type { CircuitFailure } from "./circuit-breaker.ts";
import type { ModelFailureReason } from "./language-model.ts";

/** A call that is over. */
export interface HowItWent {
  readonly attempt: ModelAttempt;
  /** Missing when it answered, or was cut off. */
  readonly failure?: ParleyError | undefined;
}

/** A model that was silent for less has not failed: the agent that asked is impatient, others need not be. */
export const PATIENCE_MS_MIN = 5_000;

/** `alive`: it can be reached and reacts. `unknown`: says nothing. Else how it failed. */
export type CallVerdict = "alive" | "unknown" | CircuitFailure;

type Judge = (how: HowItWent) => CallVerdict;

const failed: Judge = ({ failure }) => ({ retryAfterMs: failure?.retryAfterMs });
const limited: Judge = ({ failure }) => ({ retryAfterMs: failure?.retryAfterMs, rateLimited: true });
const lasting: Judge = ({ failure }) => ({ retryAfterMs: failure?.retryAfterMs, lasting: true });
const ifPatient: Judge = ({ attempt }) => (attempt.durationMs >= PATIENCE_MS_MIN ? {} : "unknown");

/**
 * By outcome. A refused key counts like any failure, not as lasting: 403 is also how some providers refuse single
 * requests. What a model says (nothing, too much) is its caller's doing as often as its own.
 */
const VERDICTS = {
  answered: () => "alive",
  canceled: () => "unknown",
  abandoned: () => "unknown",
  "circuit-open": () => "unknown",
  "host-busy": () => "unknown",
  "rate-limited": limited,
  overloaded: failed,
  "quota-exhausted": lasting,
  "provider-credentials": failed,
  "model-not-found": lasting,
  "context-window": () => "alive",
  "content-policy": () => "alive",
  "provider-refused": () => "unknown",
  "provider-unavailable": failed,
  "first-token-timeout": ifPatient,
  stalled: ifPatient,
  truncated: failed,
  garbled: failed,
  "empty-answer": () => "unknown",
  "answer-too-long": () => "unknown",
} as const satisfies Record<ModelAttempt["outcome"], Judge>;

/** What a call says about its model. */
export function circuitFailureOf(how: HowItWent): CallVerdict {
  return VERDICTS[how.attempt.outcome](how);
}

const OVERLOADING: ReadonlySet<ModelAttempt["outcome"]> = new Set<ModelFailureReason>([
  "rate-limited",
  "overloaded",
  "provider-unavailable",
  "truncated",
]);

/** Whether it is a failure that asks for another try, and so for sparing its host. */
export function spendsRetryBudget({ attempt }: HowItWent): boolean {
  return OVERLOADING.has(attempt.outcome);
}
