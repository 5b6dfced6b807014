/**
 * The one error class of both programs: a closed code set, a message that may be shown to the caller, and a
 * cause that may not. Adapters translate foreign failures into it where they see them and decide there whether
 * a new try makes sense; nobody decides it again.
 */

/** The closed set of error codes; every wire maps exactly these. */
export const ERROR_CODES = [
  "invalid_argument",
  "unauthenticated",
  "permission_denied",
  "not_found",
  "conflict",
  "resource_exhausted",
  "failed_precondition",
  "canceled",
  "deadline_exceeded",
  "unavailable",
  "unimplemented",
  "internal",
] as const;

/** One of {@link ERROR_CODES}. */
export type ErrorCode = (typeof ERROR_CODES)[number];

/** A JSON value, as carried in the details of an error. */
export type JsonValue = string | number | boolean | null | JsonValue[] | { [key: string]: JsonValue };

/** What an error carries beside its code and message. */
export interface ParleyErrorOptions {
  /** A stable kebab-case word that tells cases of one code apart, e.g. `body-too-large`. Public. */
  reason?: string;
  /** Whether the same call may succeed when tried again unchanged. Default false. */
  retryable?: boolean;
  /** The least time to wait before a new try, milliseconds. */
  retryAfterMs?: number;
  /** Machine-readable particulars for the caller; never a secret. */
  details?: { [key: string]: JsonValue };
  /** The foreign failure; for the log only. */
  cause?: unknown;
}

/** A failure with a message that is safe to show to the caller. */
export class ParleyError extends Error {
  override readonly name = "ParleyError";
  readonly code: ErrorCode;
  readonly reason: string | undefined;
  readonly retryable: boolean;
  readonly retryAfterMs: number | undefined;
  readonly details: { [key: string]: JsonValue } | undefined;

  constructor(code: ErrorCode, message: string, options: ParleyErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.reason = options.reason;
    this.retryable = options.retryable ?? false;
    this.retryAfterMs = options.retryAfterMs;
    this.details = options.details;
  }

  /** The same failure, with some of it said otherwise. */
  with({ message = this.message, ...changes }: ParleyErrorOptions & { message?: string }): ParleyError {
    const { code, reason, retryable, retryAfterMs, details, cause } = this;
    return new ParleyError(code, message, {
      ...{ retryable, cause },
      ...(reason !== undefined && { reason }),
      ...(retryAfterMs !== undefined && { retryAfterMs }),
      ...(details !== undefined && { details }),
      ...changes,
    });
  }
}

/**
 * The error as it may leave the process: a ParleyError as it is, an abort without a reason of ours as `canceled`,
 * anything else as "internal error" with the original as its cause.
 */
export function toParleyError(error: unknown): ParleyError {
  if (error instanceof ParleyError) return error;
  if (error instanceof Error && error.name === "AbortError") {
    return new ParleyError("canceled", "the call was canceled", { cause: error });
  }
  return new ParleyError("internal", "internal error; quote the request id when you report it", {
    cause: error,
  });
}

/** Whether the text is one of the closed set. */
export function isErrorCode(text: string): text is ErrorCode {
  return (ERROR_CODES as readonly string[]).includes(text);
}
