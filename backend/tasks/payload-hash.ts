/** Tells two messages under one id apart. */
import { createHash } from "node:crypto";
import { toBinary } from "@bufbuild/protobuf";
import { type A2AMessage, A2AMessageSchema } from "../../proto/gen/parley/v1/agent_service_pb.js";

/** What makes two messages under one id the same: who they are for, their conversation and what they say. */
export function hashPayload(message: A2AMessage): string {
  const { receiverId, contextId, body } = message;
  const payload: A2AMessage = { ...message, receiverId, contextId, body, messageId: "", senderId: "" };
  delete payload.createdAt;
  return createHash("sha256").update(toBinary(A2AMessageSchema, payload)).digest("base64");
}
