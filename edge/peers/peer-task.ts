/**
 * A message to a peer as a task, with the events that every task has: `accepted`; a `status` in state "working" when the
 * peer has it; then its reply as `content`, or `error` when nobody came for it in time, or `status` "canceled".
 */
import { create, fromJsonString, type JsonObject, toJsonString } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { ParleyError } from "../../core/errors/parley-error.ts";
import { errorMessageBody } from "../../core/messages/error-body.ts";
import { TaskState } from "../../proto/gen/lf/a2a/v1/a2a_pb.js";
import { type A2AMessage, A2AMessageSchema } from "../../proto/gen/parley/v1/agent_service_pb.js";

/** What has become of a message, in `metadata.delivery` of its events. */
export type Delivery = "accepted" | "delivered" | "answered" | "expired" | "unanswered" | "canceled";

const TASK_ID_PATTERN = /^peer:([a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?):[A-Za-z0-9]{22}$/;

/** The id of a task that a peer answers; it says where its mailbox is. */
export function peerTaskId(peerId: string, random: string): string {
  return `peer:${peerId}:${random}`;
}

/** The peer that answers a task; undefined for tasks of the backend. */
export function peerOfTask(taskId: string): string | undefined {
  return TASK_ID_PATTERN.exec(taskId)?.[1];
}

/** What the events of one task have in common. */
export interface PeerTaskContext {
  readonly taskId: string;
  readonly messageId: string;
  readonly senderId: string;
  readonly peerId: string;
  readonly contextId: string;
}

/** An event of a task, as ProtoJSON. */
export function peerEvent(
  { taskId, messageId, senderId, peerId, contextId }: PeerTaskContext,
  { sequence, nowMs, delivery }: { sequence: number; nowMs: number; delivery: Delivery },
  reply?: A2AMessage,
): string {
  const metadata: JsonObject = { ...reply?.metadata, delivery };
  const event = create(A2AMessageSchema, {
    messageId: reply?.messageId ?? "",
    senderId: peerId,
    receiverId: senderId,
    contextId,
    taskId,
    inReplyTo: messageId,
    createdAt: timestampFromMs(nowMs),
    sequence,
    metadata,
  });
  event.body = reply?.body ?? bodyOf(delivery, nowMs);
  return toJsonString(A2AMessageSchema, event);
}

/** An event again. */
export function readPeerEvent(text: string): A2AMessage {
  return fromJsonString(A2AMessageSchema, text);
}

function bodyOf(delivery: Delivery, nowMs: number): A2AMessage["body"] {
  const state = delivery === "canceled" ? TaskState.CANCELED : TaskState.WORKING;
  switch (delivery) {
    case "accepted":
      return create(A2AMessageSchema, { body: { case: "accepted", value: {} } }).body;
    case "expired":
      return errorMessageBody(tooLate(delivery, "the peer did not come for the message in time"), "");
    case "unanswered":
      return errorMessageBody(tooLate(delivery, "the peer has the message, and did not answer in time"), "");
    default:
      return create(A2AMessageSchema, {
        body: { case: "status", value: { state, timestamp: timestampFromMs(nowMs) } },
      }).body;
  }
}

function tooLate(reason: string, message: string): ParleyError {
  return new ParleyError("deadline_exceeded", message, { details: { reason } });
}
