/** A task as others see it who do not follow it: A2A's Task, made of the message, the task's last event and position. */
import { create, type JsonObject } from "@bufbuild/protobuf";
import {
  type Message,
  MessageSchema,
  type Part,
  PartSchema,
  Role,
  type Task as TaskMessage,
  TaskSchema,
  TaskState,
  type TaskStatus,
  TaskStatusSchema,
} from "../../proto/gen/lf/a2a/v1/a2a_pb.js";
import type { A2AMessage } from "../../proto/gen/parley/v1/agent_service_pb.js";

/** What is known of a task. */
export interface TaskFacts {
  id: string;
  /** The message that it answers, complete. */
  message: A2AMessage;
  /** Position of its newest event. */
  sequence: number;
  /** Its last event, once it has ended. */
  lastEvent: A2AMessage | undefined;
}

/**
 * `metadata` is that of the reply, and `agentId` and `sequence`; a failure has its `error` there, as events carry it,
 * and its words in the status.
 */
export function taskView({ id, message, sequence, lastEvent }: TaskFacts): TaskMessage {
  const about: JsonObject = { agentId: message.receiverId, sequence };
  const reply = lastEvent?.body.case === "content" ? lastEvent.body.value.parts : undefined;
  return create(TaskSchema, {
    id,
    contextId: message.contextId,
    status: statusOf(id, message, lastEvent),
    artifacts: reply && lastEvent ? [{ artifactId: lastEvent.messageId, name: "reply", parts: reply }] : [],
    history: [spoken(id, message, Role.USER, contentOf(message))],
    metadata: { ...lastEvent?.metadata, ...errorOf(lastEvent), ...about },
  });
}

function statusOf(id: string, message: A2AMessage, lastEvent: A2AMessage | undefined): TaskStatus {
  const timestamp = (lastEvent ?? message).createdAt;
  const status = (state: TaskState, said?: Message) =>
    create(TaskStatusSchema, { state, ...(timestamp && { timestamp }), ...(said && { message: said }) });
  switch (lastEvent?.body.case) {
    case undefined:
      return status(TaskState.WORKING);
    case "content":
      return status(TaskState.COMPLETED);
    case "status":
      return lastEvent.body.value;
    case "error": {
      const text = create(PartSchema, { content: { case: "text", value: lastEvent.body.value.message } });
      return status(TaskState.FAILED, spoken(id, lastEvent, Role.AGENT, [text]));
    }
    default:
      throw new Error(`a task ended with an event of kind "${lastEvent?.body.case}"`);
  }
}

function errorOf(lastEvent: A2AMessage | undefined): JsonObject {
  if (lastEvent?.body.case !== "error") return {};
  const { code, message, requestId, reason, retryAfterSeconds, details } = lastEvent.body.value;
  return {
    error: {
      ...{ code, message, requestId },
      ...(reason !== "" && { reason }),
      ...(retryAfterSeconds > 0 && { retryAfterSeconds }),
      ...(details && { details }),
    },
  };
}

function spoken(taskId: string, message: A2AMessage, role: Role, parts: readonly Part[]): Message {
  const { messageId, contextId } = message;
  return create(MessageSchema, { messageId, contextId, taskId, role, parts: [...parts] });
}

function contentOf({ body }: A2AMessage): readonly Part[] {
  return body.case === "content" ? body.value.parts : [];
}
