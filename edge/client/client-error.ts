/** The one error of the client library, in the shape that every wire of the gateway has (`docs/errors.md`). */

/** The closed set of codes. */
export type ErrorCode =
  | "invalid_argument"
  | "unauthenticated"
  | "permission_denied"
  | "not_found"
  | "conflict"
  | "resource_exhausted"
  | "failed_precondition"
  | "canceled"
  | "deadline_exceeded"
  | "unavailable"
  | "unimplemented"
  | "internal";

/** An error as it stands in an answer or a frame. */
export interface ErrorBody {
  readonly code: ErrorCode;
  readonly message: string;
  readonly requestId?: string;
  readonly reason?: string;
  readonly retryAfterSeconds?: number;
  readonly details?: Readonly<Record<string, unknown>>;
}

/** What may be put right by trying again. */
const RETRYABLE: ReadonlySet<ErrorCode> = new Set(["resource_exhausted", "deadline_exceeded", "unavailable"]);

/** A request, a turn or a session that failed. */
export class ClientError extends Error {
  override readonly name = "ClientError";
  readonly code: ErrorCode;
  readonly requestId: string | undefined;
  readonly reason: string | undefined;
  readonly retryAfterSeconds: number | undefined;
  readonly details: Readonly<Record<string, unknown>>;
  /** Whether the same request may succeed later. */
  readonly retryable: boolean;

  constructor(body: ErrorBody, options?: ErrorOptions) {
    super(body.message, options);
    this.code = body.code;
    this.requestId = body.requestId;
    this.details = body.details ?? {};
    const { reason } = this.details;
    this.reason = body.reason ?? (typeof reason === "string" ? reason : undefined);
    this.retryAfterSeconds = body.retryAfterSeconds;
    this.retryable = RETRYABLE.has(body.code);
  }
}

/** What a broken connection is. */
export function unreachable(cause: unknown): ClientError {
  return new ClientError({ code: "unavailable", message: "the gateway cannot be reached" }, { cause });
}

/** What an aborted signal is. */
export function aborted(signal: AbortSignal): ClientError {
  return new ClientError({ code: "canceled", message: "canceled by the caller" }, { cause: signal.reason });
}
