/** What a failed call to the backend means: for the caller, and for the address that was called. */
import { Code, ConnectError } from "@connectrpc/connect";
import { ERROR_DOMAIN, fromConnectError } from "../../core/errors/connect-errors.ts";
import { ParleyError, toParleyError } from "../../core/errors/parley-error.ts";
import { deadlineExceeded } from "../../core/resilience/deadline.ts";
import { ErrorInfoSchema } from "../../proto/gen/google/rpc/error_details_pb.js";

/** A failure, translated. */
export interface BackendFailure {
  error: ParleyError;
  /**
   * - `broken`: it could not be reached, or the connection ended before its answer did; the call can be made again
   *   elsewhere.
   * - `failed`: it is not available, or answered what no backend of ours says; likewise.
   * - `answered`: it works; the error is its answer.
   * - `unknown`: nothing was learnt, as the caller or the clock ended the call.
   */
  address: "broken" | "failed" | "answered" | "unknown";
}

/** Codes that, without our ErrorInfo, come from a broken connection or from something that is not our backend. */
const FOREIGN_FAILURE_CODES: readonly Code[] = [
  Code.Internal,
  Code.Unknown,
  Code.DataLoss,
  Code.Unimplemented,
];

/**
 * @param cause what the call threw
 * @param signal the call's own; when it has aborted, its reason is the failure
 */
export function toBackendFailure(cause: unknown, signal: AbortSignal): BackendFailure {
  if (signal.aborted) return { error: toParleyError(signal.reason), address: "unknown" };
  if (!(cause instanceof ConnectError)) return { error: toParleyError(cause), address: "unknown" };
  if (cause.code === Code.DeadlineExceeded) return { error: deadlineExceeded(cause), address: "unknown" };
  const isOurs = cause.findDetails(ErrorInfoSchema).some(({ domain }) => domain === ERROR_DOMAIN);
  if (isOurs && cause.code === Code.Unavailable) {
    return { error: fromConnectError(cause), address: "failed" };
  }
  if (cause.code === Code.Unavailable || (!isOurs && FOREIGN_FAILURE_CODES.includes(cause.code))) {
    // Connect keeps what fetch, or reading a body, threw; an answer with a status of its own has no such cause.
    return { error: unreachable(cause), address: cause.cause === undefined ? "failed" : "broken" };
  }
  if (cause.code === Code.Unauthenticated || (!isOurs && cause.code === Code.PermissionDenied)) {
    // It is the edge itself that was refused, by the backend or by what stands before it.
    return { error: toParleyError(cause), address: "answered" };
  }
  return { error: fromConnectError(cause), address: "answered" };
}

function unreachable(cause: ConnectError): ParleyError {
  const retryAfterSeconds = Number(cause.metadata.get("retry-after") ?? Number.NaN);
  return new ParleyError("unavailable", "the agent service did not answer; try again in a moment", {
    retryable: true,
    cause,
    ...(retryAfterSeconds >= 0 && { retryAfterMs: retryAfterSeconds * 1000 }),
  });
}
