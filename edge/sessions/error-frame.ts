/** Errors as frames without a number: what is wrong with one frame of one connection. */
import { create, type JsonObject } from "@bufbuild/protobuf";
import { ParleyError } from "../../core/errors/parley-error.ts";
import { envelopeToJson } from "../../core/messages/envelope.ts";
import { errorMessageBody } from "../../core/messages/error-body.ts";
import {
  type A2AMessage,
  A2AMessageSchema,
  ErrorSchema,
} from "../../proto/gen/parley/v1/agent_service_pb.js";

/** What an error answers. */
export interface Answered {
  readonly requestId: string;
  /** The message that could not be taken, or the task that could not be canceled. */
  readonly message?: A2AMessage | undefined;
}

/** The body of an error; frames have no other place for its reason than the details. */
export function errorBodyOf(error: ParleyError, requestId: string): ReturnType<typeof errorMessageBody> {
  const body = errorMessageBody(error, requestId);
  if (error.reason === undefined) return body;
  const details: JsonObject = { reason: error.reason, ...body.value.details };
  return { case: "error", value: create(ErrorSchema, { ...body.value, details }) };
}

/** The text of the frame. */
export function errorFrame(error: ParleyError, { requestId, message }: Answered): string {
  const envelope = create(A2AMessageSchema, {
    senderId: message?.receiverId ?? "",
    contextId: message?.contextId ?? "",
    taskId: message?.taskId ?? "",
    inReplyTo: (message?.body.case === "cancel" ? message.inReplyTo : message?.messageId) ?? "",
    body: errorBodyOf(error, requestId),
  });
  return JSON.stringify(envelopeToJson(envelope));
}

/** More of something than a session may have. */
export function tooMany(reason: string, message: string): ParleyError {
  return new ParleyError("resource_exhausted", message, { reason, retryable: true, retryAfterMs: 1_000 });
}
