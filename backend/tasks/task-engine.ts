/**
 * Takes messages, makes each a task, runs it and lets any number of callers follow it. A caller that leaves stops
 * following; only a cancel, the task's own deadline or the end of the process stops the work.
 */
import { createHash } from "node:crypto";
import { toBinary } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { Principal } from "../../core/auth/principal.ts";
import type { Agent } from "../../core/directory/agent.ts";
import type { Directory } from "../../core/directory/directory.ts";
import { type ErrorCode, ParleyError } from "../../core/errors/parley-error.ts";
import { TenantShares } from "../../core/limits/tenant-shares.ts";
import { resolveSender } from "../../core/messages/resolve-sender.ts";
import { Deadline, deadlineExceeded } from "../../core/resilience/deadline.ts";
import { type A2AMessage, A2AMessageSchema } from "../../proto/gen/parley/v1/agent_service_pb.js";
import { ContextQueue } from "./context-queue.ts";
import { Task } from "./task.ts";
import { TASK_STORE_LIMITS, TaskStore } from "./task-store.ts";

/** A message to be answered; it has been validated and its text expanded. */
export interface AcceptRequest {
  message: A2AMessage;
  principal: Principal;
  requestId: string;
  /** The context of a message that names none; made anew when there is none either. */
  defaultContextId?: string | undefined;
  /** What is left of the caller's time, milliseconds; undefined when it set no limit. */
  budgetMs: number | undefined;
}

/** Runs an accepted task to its last event. Never rejects. */
export type RunTask = (task: Task, agent: Agent, deadline: Deadline) => Promise<void>;

/** What the engine works with. */
export interface TaskEngineOptions {
  directory: Directory;
  run: RunTask;
  /** Longest time for one turn, milliseconds, waiting for its context included. */
  turnTimeoutMs: number;
  /**
   * Tasks waiting or running at once. A tenant may have three times as many as there is room left for; over that
   * its messages are refused with `resource_exhausted`.
   */
  tasksInFlightMax: number;
  /** False while the durable log has no room for a tenant's turns: messages are refused with `resource_exhausted`. */
  canRecord: (tenantId: string) => boolean;
  /** Unix epoch, milliseconds. */
  now: () => number;
  /** Monotonic, milliseconds. */
  monotonicNow: () => number;
}

/** Failures that say nothing about the message. */
const RUN_AGAIN_AFTER: readonly ErrorCode[] = ["deadline_exceeded", "unavailable", "resource_exhausted"];

/** How long a caller should wait when the engine is full or draining. */
const BUSY_RETRY_AFTER_MS = 1_000;

/** The task engine of one backend process. */
export class TaskEngine {
  readonly #options: TaskEngineOptions;
  readonly #store: TaskStore;
  readonly #contexts = new ContextQueue();
  readonly #inFlight = new Map<Task, Promise<void>>();
  readonly #shares: TenantShares;
  #draining = false;

  constructor(options: TaskEngineOptions) {
    this.#options = options;
    this.#store = new TaskStore(TASK_STORE_LIMITS, options.now);
    this.#shares = new TenantShares(options.tasksInFlightMax);
  }

  /**
   * Takes a message. The same message sent again (tenant, sender, message id) gives the task it already has,
   * unless that one failed for want of time, room or a backend: then it is run again.
   *
   * @throws ParleyError `not_found` (no such agent for this tenant), `permission_denied` (sender), `conflict`
   *   (same id, other content), `resource_exhausted` (full), `unavailable` (draining, directory gone)
   */
  async accept(request: AcceptRequest): Promise<Task> {
    const { message, principal } = request;
    message.senderId = resolveSender(message.senderId, principal);
    const payloadHash = hashPayload(message);
    const known = this.#findDuplicate(request, payloadHash);
    if (known) return known;
    this.#admit(principal);
    const agent = await this.#options.directory.findAgent(principal.tenantId, message.receiverId);
    if (!agent) throw agentNotFound(message.receiverId);
    const taken = this.#findDuplicate(request, payloadHash);
    if (taken) return taken;
    this.#admit(principal);
    return this.#start(request, agent, payloadHash);
  }

  /** @throws ParleyError `not_found` when there is no such task, or it is not the caller's */
  find(principal: Principal, taskId: string): Task {
    const task = this.#store.findOwn(principal.tenantId, principal.subject, taskId);
    if (task) return task;
    throw new ParleyError(
      "not_found",
      `there is no task "${taskId}", or it ended too long ago to be followed`,
    );
  }

  /** The caller's task that answers a message of its own; undefined when there is none. */
  findByMessage(principal: Principal, messageId: string): Task | undefined {
    const task = this.#store.findByMessage(principal.tenantId, principal.subject, messageId)?.task;
    return task?.owner === principal.subject ? task : undefined;
  }

  /**
   * Takes no more messages and waits for the tasks in flight; those that have not ended when `graceSignal` aborts
   * are failed with `unavailable`.
   */
  async drain(graceSignal: AbortSignal): Promise<void> {
    this.#draining = true;
    const stopAll = () => {
      for (const task of this.#inFlight.keys()) task.stop(drainingError());
    };
    graceSignal.addEventListener("abort", stopAll, { once: true });
    if (graceSignal.aborted) stopAll();
    await Promise.all(this.#inFlight.values());
    graceSignal.removeEventListener("abort", stopAll);
  }

  #findDuplicate({ message, principal }: AcceptRequest, payloadHash: string): Task | undefined {
    if (message.messageId === "") return undefined;
    const stored = this.#store.findByMessage(principal.tenantId, message.senderId, message.messageId);
    if (!stored || isWorthAnotherRun(stored.task)) return undefined;
    if (stored.payloadHash === payloadHash) return stored.task;
    throw new ParleyError(
      "conflict",
      `message id "${message.messageId}" was used for another message; give every message its own id`,
    );
  }

  #admit({ tenantId }: Principal): void {
    if (this.#draining) throw drainingError();
    if (!this.#options.canRecord(tenantId)) throw logFullError();
    if (!this.#shares.hasRoom(tenantId)) throw tooManyInFlightError();
  }

  #start(request: AcceptRequest, agent: Agent, payloadHash: string): Task {
    const { message, principal, requestId, budgetMs, defaultContextId } = request;
    message.messageId ||= crypto.randomUUID();
    const isNewContext = message.contextId === "" && defaultContextId === undefined;
    // A turn that brings its own history belongs to no conversation and waits for none.
    message.contextId ||= (!message.history && defaultContextId) || crypto.randomUUID();
    message.createdAt = timestampFromMs(this.#options.now());
    const task = new Task({
      id: crypto.randomUUID(),
      tenantId: principal.tenantId,
      owner: principal.subject,
      message,
      requestId,
      keyId: principal.keyId,
      agentVersion: agent.version,
      isNewContext,
      now: this.#options.now,
    });
    this.#store.add(task, payloadHash);
    task.accept();
    const turnBudgetMs = Math.min(this.#options.turnTimeoutMs, budgetMs ?? Number.POSITIVE_INFINITY);
    const deadline = Deadline.after(turnBudgetMs, this.#options.monotonicNow);
    const timer = setTimeout(() => task.stop(deadlineExceeded()), turnBudgetMs);
    const done = this.#runInTurn(task, agent, deadline)
      .catch((error) => task.endUnexpectedly(error))
      .finally(() => {
        clearTimeout(timer);
        this.#inFlight.delete(task);
        this.#shares.release(task.tenantId, 1);
        this.#store.markFinished(task);
      });
    this.#inFlight.set(task, done);
    this.#shares.take(task.tenantId, 1);
    return task;
  }

  /** When the turns before it in its context have ended; at once when the task is stopped while it waits. */
  async #runInTurn(task: Task, agent: Agent, deadline: Deadline): Promise<void> {
    let running: Promise<void> | undefined;
    const run = () => {
      running ??= this.#options.run(task, agent, deadline);
      return running;
    };
    const stopped = new Promise<void>((resolve, reject) => {
      task.signal.addEventListener("abort", () => run().then(resolve, reject), { once: true });
    });
    const key = `${task.tenantId}\n${task.message.contextId}`;
    await Promise.race([this.#contexts.enqueue(key, run), stopped]);
  }
}

/** Whether a message whose task ended so should be run again when it is sent again. */
function isWorthAnotherRun({ failure }: Task): boolean {
  return failure !== undefined && RUN_AGAIN_AFTER.includes(failure.code);
}

/** The words are the same whether the agent does not exist or belongs to another tenant. */
function agentNotFound(receiverId: string): ParleyError {
  return new ParleyError(
    "not_found",
    `no agent "${receiverId}"; GET /api/v1/agents lists those you can reach`,
  );
}

function tooManyInFlightError(): ParleyError {
  return new ParleyError("resource_exhausted", "too many of your messages are being answered at the moment", {
    reason: "too-many-in-flight",
    retryable: true,
    retryAfterMs: BUSY_RETRY_AFTER_MS,
  });
}

function logFullError(): ParleyError {
  return new ParleyError("resource_exhausted", "too many messages wait to be recorded", {
    reason: "log-full",
    retryable: true,
    retryAfterMs: BUSY_RETRY_AFTER_MS,
  });
}

function drainingError(): ParleyError {
  return new ParleyError("unavailable", "this backend is shutting down; try again", {
    reason: "draining",
    retryable: true,
    retryAfterMs: BUSY_RETRY_AFTER_MS,
  });
}

/** What makes two messages under one id the same: who they are for, their conversation and what they say. */
function hashPayload(message: A2AMessage): string {
  const { receiverId, contextId, body } = message;
  const payload: A2AMessage = { ...message, receiverId, contextId, body, messageId: "", senderId: "" };
  delete payload.createdAt;
  return createHash("sha256").update(toBinary(A2AMessageSchema, payload)).digest("base64");
}
