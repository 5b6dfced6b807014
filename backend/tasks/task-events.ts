/** Events of tasks that can be made from their records alone, and what the last event of a task says of it. */
import { create } from "@bufbuild/protobuf";
import { isErrorCode, type JsonValue, ParleyError } from "../../core/errors/parley-error.ts";
import { type A2AMessage, A2AMessageSchema } from "../../proto/gen/parley/v1/agent_service_pb.js";
import { eventEnvelope } from "./event-envelope.ts";
import type { TaskRecord } from "./task-ledger.ts";

/** The first event of every task. */
export function acceptedEvent({ id, message }: TaskRecord): A2AMessage {
  return create(A2AMessageSchema, {
    ...eventEnvelope(id, message),
    ...(message.createdAt ? { createdAt: message.createdAt } : {}),
    body: { case: "accepted", value: {} },
  });
}

/** Stands in for an event that may have been seen and that nobody has kept: a piece without text. */
export function voidEvent({ id, message }: TaskRecord): A2AMessage {
  return create(A2AMessageSchema, {
    ...eventEnvelope(id, message),
    ...(message.createdAt ? { createdAt: message.createdAt } : {}),
    body: { case: "delta", value: "" },
  });
}

/** What a canceled task failed with. */
export function canceledError(): ParleyError {
  return new ParleyError("canceled", "the task was canceled");
}

/** The failure that a last event tells of. */
export function failureOf({ body }: A2AMessage): ParleyError | undefined {
  if (body.case === "status") return canceledError();
  if (body.case !== "error") return undefined;
  const { code, message, retryAfterSeconds, details, reason } = body.value;
  return new ParleyError(isErrorCode(code) ? code : "internal", message, {
    ...(reason === "" ? {} : { reason }),
    ...(retryAfterSeconds > 0 ? { retryable: true, retryAfterMs: retryAfterSeconds * 1_000 } : {}),
    ...(details ? { details: details as { [key: string]: JsonValue } } : {}),
  });
}
