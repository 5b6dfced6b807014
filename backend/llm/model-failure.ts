/**
 * The one table of what can happen to a model call: its error code, whether the same model may be asked again,
 * and what may be said about it in public. Adapters classify, this file decides; the provider's own words stay
 * in the cause, for the log.
 */
import { type ErrorCode, type JsonValue, ParleyError } from "../../core/errors/parley-error.ts";
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
  overloaded: {
    code: "unavailable",
    retryable: true,
    message: "the model provider is overloaded at the moment",
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
    message: "the text is longer than the model takes; send less text, or begin a new context",
  },
  "content-policy": {
    code: "failed_precondition",
    retryable: false,
    message: "the model provider's content policy refused the request; change the text",
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
  "empty-answer": {
    code: "unavailable",
    retryable: false,
    message: "the model gave no text",
  },
  "answer-too-long": {
    code: "unavailable",
    retryable: false,
    message: "the model's answer did not come to an end",
  },
} as const satisfies Record<ModelFailureReason, ModelFailureKind>;

/** What a failure carries beside its reason. */
export interface ModelFailureOptions {
  /** The foreign failure; for the log only, without secrets. */
  cause?: unknown;
  /** What the provider asked for. */
  retryAfterMs?: number | undefined;
  /** The provider's own word for a refusal that the caller is to understand; shown only if it is a plain word. */
  providerCode?: string | undefined;
  /** False where the provider forbids what the reason would allow. */
  retryable?: boolean | undefined;
}

/** A code, not a sentence: nothing that a provider writes for people, or echoes, gets through as one. */
const PROVIDER_CODE = /^[A-Za-z][\w.-]{0,63}$/;
/** In place of a code where the provider has none. */
const NO_PROVIDER_CODE = "unspecified";

/** The ParleyError of a model call that failed. */
export function modelFailure(
  reason: ModelFailureReason,
  { cause, retryAfterMs, providerCode, retryable: permitted = true }: ModelFailureOptions = {},
): ParleyError {
  const { code, retryable, message } = MODEL_FAILURES[reason];
  return new ParleyError(code, message, {
    reason,
    retryable: retryable && permitted,
    ...(reason === "content-policy" ? { details: policyDetails(providerCode) } : {}),
    ...(cause === undefined ? {} : { cause }),
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  });
}

/** Why the provider refused, in its own word. */
function policyDetails(providerCode = ""): { [key: string]: JsonValue } {
  return { providerCode: PROVIDER_CODE.test(providerCode) ? providerCode : NO_PROVIDER_CODE };
}

/** The reason of a model failure; undefined for any other error. */
export function modelFailureReasonOf(error: unknown): ModelFailureReason | undefined {
  if (!(error instanceof ParleyError) || error.reason === undefined) return undefined;
  return Object.hasOwn(MODEL_FAILURES, error.reason) ? (error.reason as ModelFailureReason) : undefined;
}
