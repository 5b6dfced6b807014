/** Writes turns to the durable log: the question, and the reply or the reason why there is none. */
import { toJson } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { JsonValue } from "../../core/errors/parley-error.ts";
import type { LogEntry, MessageLog } from "../../core/log/message-log.ts";
import { type A2AMessage, ContentSchema } from "../../proto/gen/parley/v1/agent_service_pb.js";
import { questionRecovery, replyRecovery } from "./archived-task.ts";
import { toLogAttempt } from "./log-attempt.ts";
import type { Task } from "./task.ts";
import type { TurnRecorder } from "./turn-recorder.ts";

/**
 * Makes a recorder over a log.
 *
 * @param now Unix epoch, milliseconds
 * @param backendId names this process among the backends
 */
export function createLogTurnRecorder(log: MessageLog, now: () => number, backendId: string): TurnRecorder {
  return {
    state: () => log.state(),

    // Async: a content that has no JSON form (a number that is NaN, over gRPC) rejects instead of throwing.
    question: async (task) =>
      log.append({
        ...common(task, task.message, now),
        role: "user",
        recovery: questionRecovery(task.record, backendId),
      }),

    answer: async (task, reply, record, durationMs) =>
      log.append({
        ...common(task, reply, now),
        ...record,
        role: "agent",
        recovery: replyRecovery(task.events.sequence + 1),
        attempts: task.attempts.map(toLogAttempt),
        inReplyTo: reply.inReplyTo,
        durationMs: Math.round(durationMs),
      }),

    failure: async (task, error, durationMs) =>
      log.append({
        ...common(task, task.reply([], {}), now),
        role: "agent",
        recovery: replyRecovery(task.events.sequence + 1, error),
        content: { parts: [] },
        attempts: task.attempts.map(toLogAttempt),
        inReplyTo: task.message.messageId,
        errorCode: error.code,
        durationMs: Math.round(durationMs),
      }),
  };
}

function common(task: Task, message: A2AMessage, now: () => number): Omit<LogEntry, "role"> {
  const { messageId, contextId, senderId, receiverId, createdAt, metadata, body } = message;
  return {
    tenantId: task.tenantId,
    messageId,
    taskId: task.id,
    contextId,
    senderId,
    receiverId,
    content: body.case === "content" ? (toJson(ContentSchema, body.value) as JsonValue) : null,
    ...(metadata ? { metadata: metadata as { [key: string]: JsonValue } } : {}),
    requestId: task.requestId,
    ...(task.keyId === "" ? {} : { keyId: task.keyId }),
    agentVersion: task.agentVersion,
    ...(task.message.history ? { ownHistory: true } : {}),
    createdAtMs: createdAt ? timestampMs(createdAt) : now(),
  };
}
