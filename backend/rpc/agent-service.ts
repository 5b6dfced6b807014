/** AgentService on the wire: checks each message, hands it to the task engine, and follows the task. */
import { create } from "@bufbuild/protobuf";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import { requireScope } from "../../core/auth/require-scope.ts";
import { type JsonValue, ParleyError } from "../../core/errors/parley-error.ts";
import { expandText, requireContent } from "../../core/messages/envelope.ts";
import { KNOWN_TASK_HEADER } from "../../core/messages/known-task.ts";
import type { Clock } from "../../core/resilience/deadline.ts";
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
import { deltaIntervalOf, followEvents } from "./follow-events.ts";
import { LiveCaller } from "./live-caller.ts";
import type { Validate } from "./validate.ts";

/** Of a call's time, for its turn's end to be recorded and to reach the caller. */
const LAST_WORD_MS_MAX = 250;
/** Of short calls, no more than this part. */
const LAST_WORD_SHARE = 0.1;

/** What the service works with. */
export interface AgentServiceOptions {
  engine: TaskEngine;
  limits: CallLimits;
  validate: Validate;
  /** Monotonic, milliseconds. */
  now: Clock;
  /** Default: {@link LiveCaller}'s own. */
  verifyAgainMs?: number | undefined;
}

/** Makes the handlers of AgentService. */
export function createAgentService({
  engine,
  limits,
  validate,
  now,
  verifyAgainMs,
}: AgentServiceOptions): ServiceImpl<typeof AgentService> {
  /** Checks that the caller may send, and counts its request. */
  const admit = async (caller: VerifiedCaller) => {
    requireScope(caller.principal, "messages:send");
    await limits.countRequest(caller);
  };

  /** Checks an admitted caller's message and makes it a task. */
  const accept = async (
    message: A2AMessage,
    caller: VerifiedCaller,
    { budgetMs, defaultContextId }: { budgetMs?: number | undefined; defaultContextId?: string },
  ) => {
    expandText(message);
    validate(A2AMessageSchema, message);
    requireContent(message);
    const { principal, requestId } = caller;
    const request = { message, principal, requestId, budgetMs, defaultContextId };
    return limits.charge(caller, message, () => engine.accept(request));
  };

  /** Events for as long as the caller's credential is good. */
  async function* whileVerified(
    context: HandlerContext,
    events: (caller: LiveCaller, signal: AbortSignal) => AsyncIterable<A2AMessage>,
  ) {
    const caller = new LiveCaller(principalOf(context), now, verifyAgainMs);
    try {
      yield* events(caller, AbortSignal.any([context.signal, caller.refused]));
    } finally {
      caller.close();
    }
  }

  return {
    async processMessage(message, context) {
      const caller = principalOf(context);
      await admit(caller);
      const task = await accept(message, caller, { budgetMs: turnBudgetMs(context) });
      tellWhetherKnown(context, caller, task);
      return lastEventOf(task, context.signal);
    },

    async *streamReply(message, context) {
      const caller = principalOf(context);
      const deltaIntervalMs = deltaIntervalOf(context.requestHeader);
      await admit(caller);
      const task = await accept(message, caller, { budgetMs: turnBudgetMs(context) });
      tellWhetherKnown(context, caller, task);
      yield* whileVerified(context, (_, signal) =>
        followEvents({ events: task.events, afterSequence: 0, deltaIntervalMs, now, signal }),
      );
    },

    async *streamMessage(messages, context) {
      const opener = principalOf(context);
      await admit(opener);
      yield* whileVerified(context, (caller, signal) => {
        // Opening has paid for the first message.
        let isPaid = true;
        const admitNext = async () => {
          const current = await caller.current();
          if (!isPaid) await admit(current);
          isPaid = false;
          return current;
        };
        return converse({
          messages,
          caller: opener,
          signal,
          accept: async (message, defaultContextId) =>
            accept(message, await admitNext(), { defaultContextId }),
          cancel: async (message) => cancelTask(await findCanceled(message, await admitNext())),
        });
      });
    },

    async *resumeReply(request, context) {
      const caller = principalOf(context);
      const deltaIntervalMs = deltaIntervalOf(context.requestHeader);
      await admit(caller);
      validate(ResumeReplyRequestSchema, request);
      const { afterSequence } = request;
      const task = await engine.find(caller.principal, request.taskId);
      if (afterSequence > task.seenSequence) {
        throw new ParleyError(
          "invalid_argument",
          `after_sequence ${afterSequence} is in the future; the newest event is ${task.seenSequence}`,
        );
      }
      yield* whileVerified(context, (_, signal) =>
        followEvents({ events: task.events, afterSequence, deltaIntervalMs, now, signal }),
      );
    },

    async cancelReply(request, context) {
      const caller = principalOf(context);
      await admit(caller);
      validate(CancelReplyRequestSchema, request);
      const task = await engine.find(caller.principal, request.taskId);
      cancelTask(task);
      return lastOf(task, context.signal);
    },

    async startReply(message, context) {
      const caller = principalOf(context);
      await admit(caller);
      // The time that the caller gives is for the acceptance, not for the turn.
      const task = await accept(message, caller, {});
      tellWhetherKnown(context, caller, task);
      await task.acceptance;
      return firstOf(task, context.signal);
    },

    async getTask(request, context) {
      const caller = principalOf(context);
      await admit(caller);
      validate(GetTaskRequestSchema, request);
      const { id, message, events } = await engine.find(caller.principal, request.taskId);
      return taskView({ id, message, sequence: events.sequence, lastEvent: events.lastEvent });
    },
  };

  async function findCanceled(message: A2AMessage, { principal }: VerifiedCaller): Promise<Task> {
    if (message.taskId !== "") return engine.find(principal, message.taskId);
    const task = await engine.findByMessage(principal, message.inReplyTo);
    if (task) return task;
    throw new ParleyError("not_found", "name the task to cancel in `taskId`, or its message in `inReplyTo`");
  }
}

/** A turn whose time is up ends before its call does: the caller still learns of it, and of what it has cost. */
function turnBudgetMs(context: HandlerContext): number | undefined {
  const callMs = context.timeoutMs();
  return callMs === undefined ? undefined : callMs - Math.min(LAST_WORD_MS_MAX, callMs * LAST_WORD_SHARE);
}

/** A request that comes again by itself, because its connection broke, is still the one that pays. */
function tellWhetherKnown(
  { responseHeader }: HandlerContext,
  { requestId }: VerifiedCaller,
  task: Task,
): void {
  if (task.requestId !== requestId) responseHeader.set(KNOWN_TASK_HEADER, "true");
}

function cancelTask(task: Task): void {
  if (!task.events.ended) task.cancel();
}

/** The reply of a task, once it has one; its failure as an error. */
async function lastEventOf(task: Task, signal: AbortSignal): Promise<A2AMessage> {
  const last = await lastOf(task, signal);
  if (task.failure) throw withUsage(task.failure, last.metadata?.["usage"]);
  return last;
}

async function firstOf(task: Task, signal: AbortSignal): Promise<A2AMessage> {
  for await (const event of task.events.follow(0, signal)) return event;
  throw new Error("a task ended without an event");
}

/** A failed call says what it has cost, as a stream's last event does. */
function withUsage(failure: ParleyError, usage: JsonValue | undefined): ParleyError {
  if (usage === undefined) return failure;
  return failure.with({ details: { ...failure.details, usage } });
}

async function lastOf(task: Task, signal: AbortSignal): Promise<A2AMessage> {
  for await (const _ of task.events.follow(task.events.sequence, signal)) {
    // Only the end is of interest.
  }
  return task.events.lastEvent ?? create(A2AMessageSchema);
}
