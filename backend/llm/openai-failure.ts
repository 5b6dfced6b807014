/**
 * Classifies what OpenAI-compatible servers say when they fail: by `error.code` first (one status carries cases
 * that need opposite answers), then by status, and by wording only where servers have no code for it.
 */
import type { ParleyError } from "../../core/errors/parley-error.ts";
import type { ModelFailureReason } from "./language-model.ts";
import { modelFailure } from "./model-failure.ts";
import { parseRateLimitResetMs } from "./parse-rate-limit-reset.ts";
import { parseRetryAfterMs } from "./parse-retry-after.ts";
import { providerCause } from "./provider-cause.ts";
import { type TransportState, transportFailure } from "./transport-failure.ts";

/** Values of `error.code` and `error.type` that decide by themselves. */
const REASON_BY_CODE: Readonly<Record<string, ModelFailureReason>> = {
  insufficient_quota: "quota-exhausted",
  credit_balance_exhausted: "quota-exhausted",
  organization_spend_limit_exceeded: "quota-exhausted",
  project_spend_limit_exceeded: "quota-exhausted",
  organization_usage_limit_exceeded: "quota-exhausted",
  billing_hard_limit_reached: "quota-exhausted",
  billing_not_active: "quota-exhausted",
  rate_limit_exceeded: "rate-limited",
  slow_down: "rate-limited",
  server_is_overloaded: "overloaded",
  engine_overloaded: "overloaded",
  overloaded_error: "overloaded",
  invalid_api_key: "provider-credentials",
  model_not_found: "model-not-found",
  context_length_exceeded: "context-window",
  exceed_context_size_error: "context-window",
  string_above_max_length: "context-window",
  request_too_large: "context-window",
  content_policy_violation: "content-policy",
  content_filter: "content-policy",
  ResponsibleAIPolicyViolation: "content-policy",
  moderation_blocked: "content-policy",
  invalid_prompt: "content-policy",
};

const REASON_BY_STATUS: Readonly<Record<number, ModelFailureReason>> = {
  401: "provider-credentials",
  402: "quota-exhausted",
  403: "provider-credentials",
  404: "model-not-found",
  408: "provider-unavailable",
  409: "provider-unavailable",
  413: "context-window",
  429: "rate-limited",
  451: "content-policy",
  529: "overloaded",
};

/** `error.type` is coarser than the status: heard last. `rate_limit_error` covers quotas, too. */
const REASON_BY_TYPE: Readonly<Record<string, ModelFailureReason>> = {
  rate_limit_error: "rate-limited",
  authentication_error: "provider-credentials",
  permission_error: "provider-credentials",
  not_found_error: "model-not-found",
  invalid_request_error: "provider-refused",
  BadRequestError: "provider-refused",
};

/** How servers without a code for it (vLLM, llama.cpp, LM Studio) say that the prompt is too long. */
const TOO_LONG = /context (?:length|size|window)|maximum context|prompt is too long/i;

/**
 * A request that is larger than the whole limit per minute (OpenAI 429, Groq 413): under the code of a rate limit,
 * but no wait will let it through.
 */
const LARGER_THAN_THE_LIMIT = /\brequest too large\b/i;

/** How a router says with 403, the status of bad keys, that its moderation refused the text (OpenRouter). */
const MODERATED = /\bmoderation\b|\bflagged\b/i;

/** What the classification reads of an error, whatever carried it. */
interface OpenaiError {
  readonly status: number | undefined;
  readonly code: string;
  readonly type: string;
  readonly message: string;
}

/** The failure behind an error thrown by the SDK or while reading the response's body. */
export function openaiFailure(error: unknown, state: TransportState): ParleyError {
  if (!isStatusError(error)) return transportFailure(error, state);
  const told: OpenaiError = {
    status: error.status,
    code: wordOf(error.code),
    type: wordOf(error.type),
    message: error.message,
  };
  return failureOf(told, state.secret, error.headers);
}

/** The failure behind an `error` object inside a stream: it has no status but, with some servers, as its code. */
export function openaiStreamFailure(payload: unknown, secret?: string): ParleyError {
  const { code, type, message } = (typeof payload === "object" && payload !== null ? payload : {}) as Record<
    string,
    unknown
  >;
  const number = Number(code);
  const told: OpenaiError = {
    status: number >= 400 && number <= 599 ? number : undefined,
    code: wordOf(code),
    type: wordOf(type),
    message: typeof message === "string" ? message : (JSON.stringify(payload) ?? ""),
  };
  return failureOf(told, secret);
}

function failureOf(told: OpenaiError, secret: string | undefined, headers?: Headers): ParleyError {
  const { status, code, type, message } = told;
  const cause = providerCause(`${status ?? "in stream"} ${code} ${type}: ${message}`, secret);
  return modelFailure(reasonOf(told), {
    cause,
    retryAfterMs: headers && retryAfterOf(headers, status),
    providerCode: code || type,
    retryable: headers?.get("x-should-retry") !== "false",
  });
}

/** Without a time to wait, a rate limit may still say when it has room again. */
function retryAfterOf(headers: Headers, status: number | undefined): number | undefined {
  return parseRetryAfterMs(headers) ?? (status === 429 ? parseRateLimitResetMs(headers) : undefined);
}

function reasonOf({ status, code, type, message }: OpenaiError): ModelFailureReason {
  const byCode = own(REASON_BY_CODE, code) ?? own(REASON_BY_CODE, type);
  if (byCode === "rate-limited" && LARGER_THAN_THE_LIMIT.test(message)) return "context-window";
  if (byCode) return byCode;
  const refusedAsIs = status === 400 || status === 413 || status === 422 || status === undefined;
  if (refusedAsIs && TOO_LONG.test(message)) return "context-window";
  if (status === 403 && MODERATED.test(message)) return "content-policy";
  if (status !== undefined) {
    return REASON_BY_STATUS[status] ?? (status >= 500 ? "provider-unavailable" : "provider-refused");
  }
  return own(REASON_BY_TYPE, type) ?? "provider-unavailable";
}

/** An SDK error that a response caused; its connection errors have no status. */
interface StatusError extends Error {
  readonly status: number;
  readonly headers?: Headers;
  readonly code?: unknown;
  readonly type?: unknown;
}

function isStatusError(error: unknown): error is StatusError {
  return error instanceof Error && "status" in error && typeof error.status === "number";
}

function wordOf(value: unknown): string {
  return typeof value === "string" || typeof value === "number" ? String(value) : "";
}

function own<T>(table: Readonly<Record<string, T>>, key: string): T | undefined {
  return Object.hasOwn(table, key) ? table[key] : undefined;
}
