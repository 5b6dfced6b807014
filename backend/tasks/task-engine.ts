/**
 * Takes messages, makes each a task, runs it and lets any number of callers follow it. A caller that leaves stops
 * following; only a cancel, the task's own deadline or the end of the process stops the work.
 */
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { Logger } from "pino";
import type { Principal, Scope } from "../../core/auth/principal.ts";
import type { Agent } from "../../core/directory/agent.ts";
import type { Directory } from "../../core/directory/directory.ts";
import { TenantShares } from "../../core/limits/tenant-shares.ts";
import { resolveSender } from "../../core/messages/resolve-sender.ts";
import { Deadline, deadlineExceeded } from "../../core/resilience/deadline.ts";
import { sleep } from "../../core/resilience/full-jitter.ts";
import type { A2AMessage } from "../../proto/gen/parley/v1/agent_service_pb.js";
import { ContextQueue } from "./context-queue.ts";
import * as errors from "./engine-errors.ts";
import type { LedgerGate } from "./ledger-gate.ts";
import { hashPayload } from "./payload-hash.ts";
import type { SharedTasks, TakeoverHost } from "./shared-tasks.ts";
import { Task } from "./task.ts";
import type { ClaimedTask } from "./task-ledger.ts";
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

/**
 * Runs an accepted task to its last event; without an agent, to the error that there is none. Never rejects. Does
 * nothing more once the task is another backend's.
 */
export type RunTask = (task: Task, agent: Agent | undefined, deadline: Deadline) => Promise<void>;

/** What the engine works with. */
export interface TaskEngineOptions {
  directory: Directory;
  run: RunTask;
  /** Makes the message of a task durable. */
  recordQuestion: (task: Task) => Promise<void>;
  /** The part in what backends share; undefined when this backend is alone. */
  shared?: SharedTasks | undefined;
  logger: Logger;
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

/** A message that has ended this many backends in a row is what ends them. */
const TAKEOVERS_MAX = 3;
/** Between two questions for the agent of a task that has been taken over. */
const DIRECTORY_RETRY_MS = 500;

/** The task engine of one backend process. */
export class TaskEngine implements TakeoverHost {
  readonly #options: TaskEngineOptions;
  readonly #store: TaskStore;
  readonly #contexts = new ContextQueue();
  /** Tasks that have not ended, and when they will have. */
  readonly #inFlight = new Map<Task, Promise<void>>();
  /** Tasks of which it is not decided yet whether they are this backend's. */
  readonly #entering = new Map<Task, Promise<Task>>();
  readonly #shares: TenantShares;
  #draining = false;

  constructor(options: TaskEngineOptions) {
    this.#options = options;
    this.#store = new TaskStore(TASK_STORE_LIMITS, options.now);
    this.#shares = new TenantShares(options.tasksInFlightMax);
    options.shared?.start(this);
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
    if (!agent) throw errors.agentNotFound(message.receiverId);
    const taken = this.#findDuplicate(request, payloadHash);
    if (taken) return taken;
    this.#admit(principal);
    return this.#start(request, agent, payloadHash);
  }

  /**
   * @throws ParleyError `not_found` when there is no such task, or it is not the caller's; `unavailable` when it may
   *   be another backend's and the ledger cannot be asked
   */
  async find({ tenantId, subject }: Principal, taskId: string): Promise<Task> {
    const own = this.#store.findOwn(tenantId, subject, taskId);
    if (own && !own.events.isBroken) return own;
    const task = await this.#options.shared?.mirrors.find({ tenantId, taskId });
    if (task?.owner === subject) return task;
    throw errors.taskNotFound(taskId);
  }

  /** The caller's task that answers a message of its own; undefined when there is none. Throws as {@link find} does. */
  async findByMessage({ tenantId, subject }: Principal, messageId: string): Promise<Task | undefined> {
    const own = this.#store.findByMessage(tenantId, subject, messageId);
    const isHere = own && !own.events.isBroken;
    const task = isHere
      ? own
      : await this.#options.shared?.mirrors.findByMessage(tenantId, subject, messageId);
    return task?.owner === subject ? task : undefined;
  }

  /**
   * Takes no more messages and waits for the tasks in flight; those that have not ended when `graceSignal` aborts
   * are failed with `unavailable`.
   */
  async drain(graceSignal: AbortSignal): Promise<void> {
    this.#draining = true;
    this.#options.shared?.stopTakingOver();
    const stopAll = () => {
      for (const task of this.#inFlight.keys()) task.stop(errors.draining());
    };
    graceSignal.addEventListener("abort", stopAll, { once: true });
    if (graceSignal.aborted) stopAll();
    await Promise.all(this.#inFlight.values());
    graceSignal.removeEventListener("abort", stopAll);
    await this.#options.shared?.close();
  }

  room(): number {
    return this.#draining ? 0 : this.#options.tasksInFlightMax - this.#shares.total;
  }

  async takeOver(claimed: ClaimedTask, attach: (task: Task) => LedgerGate): Promise<void> {
    const { record, events, reservedSequence, takeovers } = claimed;
    const task = new Task({ record, now: this.#options.now });
    task.takeOver(events, reservedSequence);
    this.#store.add(task);
    const gate = attach(task);
    this.#options.logger.warn({ taskId: task.id, tenantId: task.tenantId, takeovers }, "task taken over");
    // Its time begins again: it has been accepted, so it is to be answered.
    await this.#track(task, this.#options.turnTimeoutMs, async (deadline) => {
      if (takeovers > TAKEOVERS_MAX) task.stop(errors.givenUp(takeovers));
      const agent = await this.#agentOf(task);
      await task.restart("taken-over");
      await this.#runInTurn(task, () => this.#options.run(task, agent, deadline), gate);
    });
  }

  #findDuplicate(
    { message, principal }: AcceptRequest,
    payloadHash: string,
  ): Task | Promise<Task> | undefined {
    if (message.messageId === "") return undefined;
    const task = this.#store.findByMessage(principal.tenantId, message.senderId, message.messageId);
    if (!task || task.mayRunAgain || task.events.isBroken) return undefined;
    if (task.record.payloadHash !== payloadHash) throw errors.messageConflict(message.messageId);
    return this.#entering.get(task) ?? task;
  }

  #admit({ tenantId }: Principal): void {
    if (this.#draining) throw errors.draining();
    if (!this.#options.canRecord(tenantId)) throw errors.logFull();
    if (!this.#shares.hasRoom(tenantId)) throw errors.tooManyInFlight();
  }

  async #start(request: AcceptRequest, agent: Agent, payloadHash: string): Promise<Task> {
    const task = this.#newTask(request, agent, payloadHash);
    this.#store.add(task);
    task.accept();
    const decided = Promise.withResolvers<Task>();
    decided.promise.catch(() => {});
    this.#entering.set(task, decided.promise);
    const { turnTimeoutMs, run, shared } = this.#options;
    this.#track(task, Math.min(turnTimeoutMs, request.budgetMs ?? turnTimeoutMs), async (deadline) => {
      const verdict = await shared?.accept(task);
      this.#entering.delete(task);
      if (verdict && verdict.kind !== "own") {
        this.#store.remove(task);
        if (verdict.kind === "known") decided.resolve(verdict.task);
        else decided.reject(verdict.error);
        return;
      }
      this.#record(task, verdict?.gate);
      decided.resolve(task);
      await this.#runInTurn(task, () => run(task, agent, deadline), verdict?.gate);
    });
    return decided.promise;
  }

  #newTask(request: AcceptRequest, agent: Agent, payloadHash: string): Task {
    const { message, principal, requestId, defaultContextId } = request;
    const { now } = this.#options;
    message.messageId ||= crypto.randomUUID();
    const isNewContext = message.contextId === "" && defaultContextId === undefined;
    // A turn that brings its own history belongs to no conversation and waits for none.
    message.contextId ||= (!message.history && defaultContextId) || crypto.randomUUID();
    message.createdAt = timestampFromMs(now());
    const record = {
      id: crypto.randomUUID(),
      tenantId: principal.tenantId,
      owner: principal.subject,
      message,
      requestId,
      keyId: principal.keyId,
      agentVersion: agent.version,
      showsAttempts: principal.scopes.includes("attempts:read" satisfies Scope),
      payloadHash,
    };
    return new Task({ record, isNewContext, now });
  }

  /** Writes the message to the durable log, beside the work; it, or the ledger, is what makes the acceptance last. */
  #record(task: Task, gate: LedgerGate | undefined): void {
    const { recordQuestion, logger } = this.#options;
    const recorded = (async () => recordQuestion(task))();
    recorded.catch((error) => {
      const { requestId, id: taskId, tenantId } = task;
      logger.error({ requestId, taskId, tenantId, err: error }, "a message could not be recorded");
    });
    if (!gate?.lease) task.acceptance = recorded;
  }

  /** Counts a task among those in flight until `work` is done, and ends it when its time is up. */
  #track(task: Task, budgetMs: number, work: (deadline: Deadline) => Promise<void>): Promise<void> {
    const deadline = Deadline.after(budgetMs, this.#options.monotonicNow);
    const timer = setTimeout(() => task.stop(deadlineExceeded()), budgetMs);
    this.#shares.take(task.tenantId, 1);
    const done = work(deadline)
      .catch((error) => task.endUnexpectedly(error))
      .finally(() => {
        clearTimeout(timer);
        this.#inFlight.delete(task);
        this.#shares.release(task.tenantId, 1);
        this.#options.shared?.ended(task);
        if (task.isLost) this.#store.remove(task);
        else if (this.#store.has(task.id)) this.#store.markFinished(task);
      });
    this.#inFlight.set(task, done);
    return done;
  }

  /** When the turns before it in its context have ended; at once when the task is stopped while it waits. */
  async #runInTurn(task: Task, start: () => Promise<void>, gate: LedgerGate | undefined): Promise<void> {
    let running: Promise<void> | undefined;
    const run = () => {
      running ??= start();
      return running;
    };
    const stopped = new Promise<void>((resolve, reject) => {
      const stop = () => run().then(resolve, reject);
      if (task.signal.aborted) stop();
      else task.signal.addEventListener("abort", stop, { once: true });
    });
    const key = `${task.tenantId}\n${task.message.contextId}`;
    const enqueue = () => this.#contexts.enqueue(key, run);
    await Promise.race([gate ? gate.turn.then(enqueue) : enqueue(), stopped]);
  }

  /** The agent of a task that was accepted elsewhere; asked for until the task's time is up. */
  async #agentOf({ tenantId, message, signal }: Task): Promise<Agent | undefined> {
    while (!signal.aborted) {
      try {
        return await this.#options.directory.findAgent(tenantId, message.receiverId, signal);
      } catch {
        await sleep(DIRECTORY_RETRY_MS, signal).catch(() => {});
      }
    }
    return undefined;
  }
}
