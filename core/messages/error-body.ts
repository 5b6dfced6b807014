/** A failure as the body of an envelope: what a stream carries where HTTP has an error's JSON. */
import { create, type JsonObject } from "@bufbuild/protobuf";
import { type Error as ErrorMessage, ErrorSchema } from "../../proto/gen/parley/v1/agent_service_pb.js";
import { retryAfterSecondsOf } from "../errors/http-errors.ts";
import { isErrorCode, type JsonValue, ParleyError } from "../errors/parley-error.ts";

/** The `error` body of an A2AMessage; never has the cause or the stack. */
export function errorMessageBody(
  error: ParleyError,
  requestId: string,
): { case: "error"; value: ErrorMessage } {
  const value = create(ErrorSchema, {
    code: error.code,
    message: error.message,
    requestId,
    retryAfterSeconds: retryAfterSecondsOf(error) ?? 0,
    reason: error.reason ?? "",
    ...(error.details === undefined ? {} : { details: error.details as JsonObject }),
  });
  return { case: "error", value };
}

/** The failure that an `error` body tells of; a code that is none of ours is `internal`. */
export function errorOfBody({
  code,
  message,
  reason,
  retryAfterSeconds,
  details,
}: ErrorMessage): ParleyError {
  return new ParleyError(isErrorCode(code) ? code : "internal", message, {
    ...(reason !== "" && { reason }),
    ...(retryAfterSeconds > 0 && { retryable: true, retryAfterMs: retryAfterSeconds * 1000 }),
    ...(details && { details: details as { [key: string]: JsonValue } }),
  });
}
