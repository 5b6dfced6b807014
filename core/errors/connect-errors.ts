/**
 * The Connect/gRPC table of the closed error set, both ways. An error travels with google.rpc details:
 * ErrorInfo (reason, request id, those of the details that are texts, and what the call has cost), RetryInfo (retry
 * delay), BadRequest (violations).
 */
import { Code, ConnectError } from "@connectrpc/connect";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  RetryInfoSchema,
} from "../../proto/gen/google/rpc/error_details_pb.js";
import { type ErrorCode, type JsonValue, ParleyError, toParleyError } from "./parley-error.ts";

/** `domain` of google.rpc.ErrorInfo in every error of ours. */
export const ERROR_DOMAIN = "parley";

/** Connect code by error code. */
export const CONNECT_CODE = {
  invalid_argument: Code.InvalidArgument,
  unauthenticated: Code.Unauthenticated,
  permission_denied: Code.PermissionDenied,
  not_found: Code.NotFound,
  conflict: Code.AlreadyExists,
  resource_exhausted: Code.ResourceExhausted,
  failed_precondition: Code.FailedPrecondition,
  canceled: Code.Canceled,
  deadline_exceeded: Code.DeadlineExceeded,
  unavailable: Code.Unavailable,
  unimplemented: Code.Unimplemented,
  internal: Code.Internal,
} as const satisfies Record<ErrorCode, Code>;

/** Error code by Connect code: the inverse, with the codes that we never send folded into ours. */
const ERROR_CODE = {
  [Code.InvalidArgument]: "invalid_argument",
  [Code.OutOfRange]: "invalid_argument",
  [Code.Unauthenticated]: "unauthenticated",
  [Code.PermissionDenied]: "permission_denied",
  [Code.NotFound]: "not_found",
  [Code.AlreadyExists]: "conflict",
  [Code.Aborted]: "conflict",
  [Code.ResourceExhausted]: "resource_exhausted",
  [Code.FailedPrecondition]: "failed_precondition",
  [Code.Canceled]: "canceled",
  [Code.DeadlineExceeded]: "deadline_exceeded",
  [Code.Unavailable]: "unavailable",
  [Code.Unimplemented]: "unimplemented",
  [Code.Internal]: "internal",
  [Code.DataLoss]: "internal",
  [Code.Unknown]: "internal",
} as const satisfies Record<Code, ErrorCode>;

/** Tokens that a failed call has cost, as carried in `details.usage`. */
const USAGE_FIELDS = ["inputTokens", "outputTokens"] as const;

/** A violation of a message's shape, as carried in `details.violations`. */
interface Violation {
  field: string;
  description: string;
}

/** The error as Connect and gRPC carry it. Unknown errors leave as `internal` without their message. */
export function toConnectError(error: unknown, requestId: string): ConnectError {
  if (error instanceof ConnectError) return error;
  const parleyError = toParleyError(error);
  const connectError = new ConnectError(parleyError.message, CONNECT_CODE[parleyError.code]);
  connectError.cause = parleyError.cause;
  connectError.details.push({
    desc: ErrorInfoSchema,
    value: {
      reason: (parleyError.reason ?? parleyError.code).toUpperCase().replaceAll("-", "_"),
      domain: ERROR_DOMAIN,
      metadata: { ...textDetails(parleyError), ...usageAsText(parleyError.details?.["usage"]), requestId },
    },
  });
  if (parleyError.retryAfterMs !== undefined) {
    const seconds = Math.floor(parleyError.retryAfterMs / 1000);
    const nanos = Math.round((parleyError.retryAfterMs % 1000) * 1_000_000);
    connectError.details.push({
      desc: RetryInfoSchema,
      value: { retryDelay: { seconds: BigInt(seconds), nanos } },
    });
  }
  const violations = parleyError.details?.["violations"];
  if (Array.isArray(violations)) {
    connectError.details.push({
      desc: BadRequestSchema,
      value: { fieldViolations: violations as unknown as Violation[] },
    });
  }
  return connectError;
}

/**
 * What came from a Connect server, in our words. An error of ours (ErrorInfo with our domain) keeps its message,
 * reason, retry delay and violations; any other server's text becomes the cause, not the message.
 */
export function fromConnectError(error: ConnectError): ParleyError {
  const code = ERROR_CODE[error.code];
  const info = error.findDetails(ErrorInfoSchema).find((detail) => detail.domain === ERROR_DOMAIN);
  if (!info) {
    return new ParleyError(code, "the agent service did not answer as expected", { cause: error });
  }
  const reason = info.reason.toLowerCase().replaceAll("_", "-");
  const delay = error.findDetails(RetryInfoSchema)[0]?.retryDelay;
  const violations = error
    .findDetails(BadRequestSchema)
    .flatMap((detail) => detail.fieldViolations.map(({ field, description }) => ({ field, description })));
  return new ParleyError(code, error.rawMessage, {
    cause: error,
    ...(reason === code.replaceAll("_", "-") ? {} : { reason }),
    ...(delay ? { retryAfterMs: Number(delay.seconds) * 1000 + delay.nanos / 1_000_000 } : {}),
    ...detailsOf(info.metadata, violations),
  });
}

/** What ErrorInfo can carry of the details: its metadata are texts. */
function textDetails({ details = {} }: ParleyError): { [key: string]: string } {
  const texts = Object.entries(details).filter(
    (entry): entry is [string, string] => typeof entry[1] === "string",
  );
  return Object.fromEntries(texts);
}

/** The counts of a usage as texts. */
function usageAsText(usage: JsonValue | undefined): { [key: string]: string } {
  if (typeof usage !== "object" || usage === null || Array.isArray(usage)) return {};
  return Object.fromEntries(USAGE_FIELDS.map((field) => [field, String(usage[field] ?? 0)]));
}

function detailsOf(metadata: { [key: string]: string }, violations: Violation[]) {
  const { requestId: _, inputTokens, outputTokens, ...texts } = metadata;
  const usage = Object.entries({ inputTokens, outputTokens }).flatMap(([field, count]): [string, number][] =>
    /^\d{1,15}$/.test(count ?? "") ? [[field, Number(count)]] : [],
  );
  const details = {
    ...texts,
    ...(violations.length > 0 ? { violations } : {}),
    ...(usage.length > 0 ? { usage: Object.fromEntries(usage) } : {}),
  };
  return Object.keys(details).length > 0 ? { details: details as { [key: string]: JsonValue } } : {};
}
