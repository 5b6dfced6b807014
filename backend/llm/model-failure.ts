/**
 * The one table of what can happen to a model call: its error code, whether the same model may be asked again,
 * and what may be said about it in public. Adapters classify, this file decides; the provider's own words stay
 * in the cause, for the log.
 */
import { type ErrorCode, ParleyError } from "../../core/errors/parley-error.ts";
import type { ModelFailureReason } from "./language-model.ts";

interface ModelFailureKind {
  readonly code: ErrorCode;
  readonly retryable: boolean;
  readonly message: string;
}

/**
 * By reason. A failure of the provider's making is `unavailable`: the caller did nothing wrong, and the
 * provider's limits are not the caller's. A silent or garbled route is not tried twice; a cut one may be.
 */
const MODEL_FAILURES = {
  "rate-limited": {
    code: "unavailable",
    retryable: true,
    message: "the model provider has too many requests at the moment",
  },
  "quota-exhausted": {
    code: "unavailable",
    retryable: false,
    message: "the model provider's quota is used up",
  },
  "provider-credentials": {
    code: "unavailable",
    retryable: false,
    message: "the model provider did not accept this deployment's credentials",
  },
  "model-not-found": {
    code: "unavailable",
    retryable: false,
    message: "the model is not available",
  },
  "context-window": {
    code: "invalid_argument",
    retryable: false,
    message: "the text is longer than the model takes",
  },
  "content-policy": {
    code: "failed_precondition",
    retryable: false,
    message: "the model provider's content policy refused the request",
  },
  "provider-refused": {
    code: "internal",
    retryable: false,
    message: "the model provider refused the request",
  },
  "provider-unavailable": {
    code: "unavailable",
    retryable: true,
    message: "the model provider cannot be reached or failed",
  },
  "first-token-timeout": {
    code: "unavailable",
    retryable: false,
    message: "the model did not begin to answer in time",
  },
  stalled: {
    code: "unavailable",
    retryable: false,
    message: "the model stopped in the middle of its answer",
  },
  truncated: {
    code: "unavailable",
    retryable: true,
    message: "the model's answer was cut off",
  },
  garbled: {
    code: "unavailable",
    retryable: false,
    message: "the model's answer could not be understood",
  },
} as const satisfies Record<ModelFailureReason, ModelFailureKind>;

/** What a failure carries beside its reason. */
export interface ModelFailureOptions {
  /** The foreign failure; for the log only, without secrets. */
  cause?: unknown;
  /** What the provider asked for. */
  retryAfterMs?: number | undefined;
}

/** The ParleyError of a model call that failed. */
export function modelFailure(
  reason: ModelFailureReason,
  { cause, retryAfterMs }: ModelFailureOptions = {},
): ParleyError {
  const { code, retryable, message } = MODEL_FAILURES[reason];
  return new ParleyError(code, message, {
    reason,
    retryable,
    ...(cause === undefined ? {} : { cause }),
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  });
}

/** The reason of a model failure; undefined for any other error. */
export function modelFailureReasonOf(error: unknown): ModelFailureReason | undefined {
  if (!(error instanceof ParleyError) || error.reason === undefined) return undefined;
  return Object.hasOwn(MODEL_FAILURES, error.reason) ? (error.reason as ModelFailureReason) : undefined;
}
