/** What all events of a task have in common, and which of them is the last. */
import { createHash } from "node:crypto";
import { TaskState } from "../../proto/gen/lf/a2a/v1/a2a_pb.js";
import type { A2AMessage } from "../../proto/gen/parley/v1/agent_service_pb.js";

/** The ids of an event: it goes from the agent to the sender of the message. */
export function eventEnvelope(taskId: string, message: A2AMessage) {
  return {
    messageId: replyIdOf(taskId),
    senderId: message.receiverId,
    receiverId: message.senderId,
    contextId: message.contextId,
    taskId,
    inReplyTo: message.messageId,
  };
}

/**
 * The message id of a task's reply, whoever makes it: a backend that takes the task over writes the same row of the
 * durable log, so that there can be only one. Formed like a UUID (version 8, RFC 9562).
 */
export function replyIdOf(taskId: string): string {
  const hex = createHash("sha256").update(`reply\n${taskId}`).digest("hex");
  const variant = "89ab"[Number.parseInt(hex[16] ?? "0", 16) % 4];
  return [
    hex.slice(0, 8),
    hex.slice(8, 12),
    `8${hex.slice(13, 16)}`,
    `${variant}${hex.slice(17, 20)}`,
    hex.slice(20, 32),
  ].join("-");
}

const TERMINAL_STATES: readonly TaskState[] = [
  TaskState.COMPLETED,
  TaskState.FAILED,
  TaskState.CANCELED,
  TaskState.REJECTED,
];

/** Whether an event ends its task. */
export function isLastEvent({ body }: A2AMessage): boolean {
  if (body.case === "status") return TERMINAL_STATES.includes(body.value.state);
  return body.case === "content" || body.case === "error";
}
