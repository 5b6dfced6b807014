/** AgentService on the wire: checks each message, hands it to the task engine, and follows the task. */
import { create } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import { requireScope } from "../../core/auth/require-scope.ts";
import { ParleyError } from "../../core/errors/parley-error.ts";
import { expandText, requireContent } from "../../core/messages/envelope.ts";
import {
  type A2AMessage,
  A2AMessageSchema,
  type AgentService,
  CancelReplyRequestSchema,
  GetTaskRequestSchema,
  ResumeReplyRequestSchema,
} from "../../proto/gen/parley/v1/agent_service_pb.js";
import type { CallLimits } from "../limits/call-limits.ts";
import type { Task } from "../tasks/task.ts";
import type { TaskEngine } from "../tasks/task-engine.ts";
import { taskView } from "../tasks/task-view.ts";
import { principalOf, type VerifiedCaller } from "./caller.ts";
import { converse } from "./conversation.ts";
import type { Validate } from "./validate.ts";

/** What the service works with. */
export interface AgentServiceOptions {
  engine: TaskEngine;
  limits: CallLimits;
  validate: Validate;
}

/** Makes the handlers of AgentService. */
export function createAgentService({
  engine,
  limits,
  validate,
}: AgentServiceOptions): ServiceImpl<typeof AgentService> {
  /** Checks a message and makes it a task. */
  const accept = async (
    message: A2AMessage,
    caller: VerifiedCaller,
    { budgetMs, defaultContextId }: { budgetMs?: number | undefined; defaultContextId?: string },
  ) => {
    requireScope(caller.principal, "messages:send");
    await limits.countRequest(caller);
    expandText(message);
    validate(A2AMessageSchema, message);
    requireContent(message);
    const { principal, requestId } = caller;
    const request = { message, principal, requestId, budgetMs, defaultContextId };
    return limits.charge(caller, message, () => engine.accept(request));
  };

  return {
    async processMessage(message, context) {
      const task = await accept(message, principalOf(context), { budgetMs: context.timeoutMs() });
      return lastEventOf(task, context.signal);
    },

    async *streamReply(message, context) {
      const task = await accept(message, principalOf(context), { budgetMs: context.timeoutMs() });
      yield* task.events.follow(0, context.signal);
    },

    async *streamMessage(messages, context) {
      const caller = principalOf(context);
      yield* converse({
        messages,
        caller,
        signal: context.signal,
        accept: (message, defaultContextId) => accept(message, caller, { defaultContextId }),
        cancel: (message) => cancelTask(findCanceled(message, caller)),
      });
    },

    async *resumeReply(request, context) {
      await limits.countRequest(principalOf(context));
      validate(ResumeReplyRequestSchema, request);
      const task = findTask(request.taskId, principalOf(context));
      if (request.afterSequence > task.events.sequence) {
        throw new ParleyError(
          "invalid_argument",
          `after_sequence ${request.afterSequence} is in the future; the newest event is ${task.events.sequence}`,
        );
      }
      yield* task.events.follow(request.afterSequence, context.signal);
    },

    async cancelReply(request, context) {
      await limits.countRequest(principalOf(context));
      validate(CancelReplyRequestSchema, request);
      const task = findTask(request.taskId, principalOf(context));
      cancelTask(task);
      return lastOf(task, context.signal);
    },

    async startReply(message, context) {
      // The time that the caller gives is for the acceptance, not for the turn.
      const task = await accept(message, principalOf(context), {});
      return firstOf(task, context.signal);
    },

    async getTask(request, context) {
      await limits.countRequest(principalOf(context));
      validate(GetTaskRequestSchema, request);
      const { id, message, events } = findTask(request.taskId, principalOf(context));
      return taskView({ id, message, sequence: events.sequence, lastEvent: events.lastEvent });
    },
  };

  function findTask(taskId: string, { principal }: VerifiedCaller): Task {
    requireScope(principal, "messages:send");
    return engine.find(principal, taskId);
  }

  function findCanceled(message: A2AMessage, caller: VerifiedCaller): Task {
    if (message.taskId !== "") return findTask(message.taskId, caller);
    const task = engine.findByMessage(caller.principal, message.inReplyTo);
    if (task) return task;
    throw new ParleyError("not_found", "name the task to cancel in `taskId`, or its message in `inReplyTo`");
  }
}

function cancelTask(task: Task): void {
  if (!task.events.ended) task.cancel();
}

/** The reply of a task, once it has one; its failure as an error. */
async function lastEventOf(task: Task, signal: AbortSignal): Promise<A2AMessage> {
  const last = await lastOf(task, signal);
  if (task.failure) throw task.failure;
  return last;
}

async function firstOf(task: Task, signal: AbortSignal): Promise<A2AMessage> {
  for await (const event of task.events.follow(0, signal)) return event;
  throw new Error("a task ended without an event");
}

async function lastOf(task: Task, signal: AbortSignal): Promise<A2AMessage> {
  for await (const _ of task.events.follow(task.events.sequence, signal)) {
    // Only the end is of interest.
  }
  return task.events.lastEvent ?? create(A2AMessageSchema);
}
