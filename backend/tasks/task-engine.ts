/**
 * Takes messages, makes each a task, runs it and lets any number of callers follow it. A caller that leaves stops
 * following; only a cancel, the task's own deadline or the end of the process stops the work.
 */
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { Logger } from "pino";
import type { Principal, Scope } from "../../core/auth/principal.ts";
import type { Agent } from "../../core/directory/agent.ts";
import type { Directory } from "../../core/directory/directory.ts";
import { resolveSender } from "../../core/messages/resolve-sender.ts";
import type { Deadline } from "../../core/resilience/deadline.ts";
import type { A2AMessage } from "../../proto/gen/parley/v1/agent_service_pb.js";
import { ArchiveGate } from "./archive-gate.ts";
import * as errors from "./engine-errors.ts";
import type { LedgerGate } from "./ledger-gate.ts";
import { hashPayload } from "./payload-hash.ts";
import type { SharedTasks } from "./shared-tasks.ts";
import { Task } from "./task.ts";
import { ARCHIVE_RESERVED_EVENTS } from "./task-archive.ts";
import type { TaskRecovery } from "./task-recovery.ts";
import { TaskRevival } from "./task-revival.ts";
import { TASK_STORE_LIMITS, TaskStore } from "./task-store.ts";
import { TasksInFlight } from "./tasks-in-flight.ts";

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
  /** What has been accepted before; undefined where nothing is kept. */
  recovery?: TaskRecovery | undefined;
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

/** How long a caller may wait to hear that its message was taken while there is nothing else to tell. */
const ACCEPTANCE_WAIT_MS = 100;

/** The task engine of one backend process. */
export class TaskEngine {
  readonly #options: TaskEngineOptions;
  readonly #store: TaskStore;
  /** Tasks of which it is not decided yet whether they are this backend's. */
  readonly #entering = new Map<Task, Promise<Task>>();
  readonly #inFlight: TasksInFlight;
  readonly #revival: TaskRevival;
  #draining = false;

  constructor(options: TaskEngineOptions) {
    this.#options = options;
    this.#store = new TaskStore(TASK_STORE_LIMITS, options.now);
    const { shared, recovery } = options;
    this.#inFlight = new TasksInFlight({
      tasksMax: options.tasksInFlightMax,
      now: options.monotonicNow,
      onDone: (task) => this.#done(task),
    });
    const parts = { store: this.#store, inFlight: this.#inFlight, shared, recovery };
    this.#revival = new TaskRevival({ ...options, ...parts, record: (task) => this.#write(task) });
    shared?.start(this.#revival);
  }

  /**
   * Takes up what other processes have left unanswered, and goes on looking for more. Resolves when all that is there
   * has been taken up; before it, a message that is sent again may be answered again.
   */
  async recover(): Promise<void> {
    await this.#options.recovery?.start(this.#revival);
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
   * Takes no more messages and waits for the tasks in flight. Those that have not ended when `graceSignal` aborts are
   * left to the backend that takes them up, or, where there can be none, failed with `unavailable`.
   */
  async drain(graceSignal: AbortSignal): Promise<void> {
    this.#draining = true;
    this.#revival.stop();
    const { shared, recovery } = this.#options;
    await this.#inFlight.drain(graceSignal, (task) => {
      if (shared || recovery) task.abandon(errors.draining());
      else task.stop(errors.draining());
    });
    await shared?.close();
    await recovery?.close();
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
    if (!this.#inFlight.hasRoom(tenantId)) throw errors.tooManyInFlight();
  }

  async #start(request: AcceptRequest, agent: Agent, payloadHash: string): Promise<Task> {
    const task = this.#newTask(request, agent, payloadHash);
    this.#store.add(task);
    task.accept();
    const decided = Promise.withResolvers<Task>();
    decided.promise.catch(() => {});
    this.#entering.set(task, decided.promise);
    const { turnTimeoutMs, run, shared } = this.#options;
    const budgetMs = Math.min(turnTimeoutMs, request.budgetMs ?? turnTimeoutMs);
    this.#inFlight.track(task, budgetMs, async (deadline) => {
      const verdict = await shared?.accept(task);
      this.#entering.delete(task);
      if (verdict && verdict.kind !== "own") {
        this.#store.remove(task);
        if (verdict.kind === "known") decided.resolve(verdict.task);
        else decided.reject(verdict.error);
        return;
      }
      this.#record(task, verdict?.gate);
      const ended = this.#inFlight.runInTurn(task, () => run(task, agent, deadline), verdict?.gate.turn);
      whenAcceptedOrBegun(task).then(() => decided.resolve(task));
      await ended;
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
    const recorded = this.#write(task);
    if (gate?.lease) return;
    task.acceptance = recorded;
    const { recovery } = this.#options;
    if (gate || !recovery) return;
    task.gate = new ArchiveGate({ task, recovery, reservedSequence: ARCHIVE_RESERVED_EVENTS });
  }

  #write(task: Task): Promise<void> {
    const { recordQuestion, logger } = this.#options;
    const recorded = (async () => recordQuestion(task))();
    recorded.catch((error) => {
      const { requestId, id: taskId, tenantId } = task;
      logger.error({ requestId, taskId, tenantId, err: error }, "a message could not be recorded");
    });
    return recorded;
  }

  #done(task: Task): void {
    this.#options.shared?.ended(task);
    if (task.isLost) this.#store.remove(task);
    else if (this.#store.has(task.id)) this.#store.markFinished(task);
  }
}

/**
 * Resolves when the acceptance would survive this process, so that a caller is not told of a task that nobody may know
 * of; but the first piece of an answer waits for no store, nor does anything wait for one that is slow.
 */
async function whenAcceptedOrBegun({ acceptance, events }: Task): Promise<void> {
  if (events.sequence > 1) return;
  const left = new AbortController();
  const timer = setTimeout(() => left.abort(), ACCEPTANCE_WAIT_MS);
  await Promise.race([acceptance, events.nextAppend(left.signal)]).catch(() => {});
  clearTimeout(timer);
  left.abort();
}
