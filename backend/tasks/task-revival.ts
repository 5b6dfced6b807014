/**
 * Runs again the tasks of backends that have ended before them, whoever knows of them: the ledger that backends share,
 * or the durable log. Followers get every number they may have seen, a restart, and then the whole answer.
 */
import type { Logger } from "pino";
import type { Agent } from "../../core/directory/agent.ts";
import type { Directory } from "../../core/directory/directory.ts";
import type { Deadline } from "../../core/resilience/deadline.ts";
import { sleep } from "../../core/resilience/full-jitter.ts";
import { ArchiveGate } from "./archive-gate.ts";
import { givenUp } from "./engine-errors.ts";
import type { LedgerGate } from "./ledger-gate.ts";
import type { SharedTasks, TakeoverHost } from "./shared-tasks.ts";
import { Task } from "./task.ts";
import type { FinishedTask, UnfinishedTask } from "./task-archive.ts";
import type { RunTask } from "./task-engine.ts";
import { acceptedEvent, voidEvent } from "./task-events.ts";
import type { ClaimedTask, TaskRecord } from "./task-ledger.ts";
import type { RecoveryHost, TaskRecovery } from "./task-recovery.ts";
import type { TaskStore } from "./task-store.ts";
import type { TasksInFlight } from "./tasks-in-flight.ts";

/** A message that has ended this many backends in a row is what ends them. */
const TAKEOVERS_MAX = 3;
/** Between two questions for the agent of a task that has been taken over. */
const DIRECTORY_RETRY_MS = 500;

/** What it works with. */
export interface TaskRevivalOptions {
  readonly store: TaskStore;
  readonly inFlight: TasksInFlight;
  readonly directory: Directory;
  readonly run: RunTask;
  /** Writes the message of a task to the durable log; never throws, and what it returns may be left alone. */
  readonly record: (task: Task) => Promise<void>;
  readonly shared: SharedTasks | undefined;
  readonly recovery: TaskRecovery | undefined;
  readonly logger: Logger;
  readonly turnTimeoutMs: number;
  /** Unix epoch, milliseconds. */
  readonly now: () => number;
}

/** See above. */
export class TaskRevival implements TakeoverHost, RecoveryHost {
  readonly #options: TaskRevivalOptions;
  #isStopped = false;

  constructor(options: TaskRevivalOptions) {
    this.#options = options;
  }

  /** Takes no more tasks. */
  stop(): void {
    this.#isStopped = true;
  }

  room(): number {
    return this.#isStopped ? 0 : this.#options.inFlight.room;
  }

  async takeOver(claimed: ClaimedTask, attach: (task: Task) => LedgerGate): Promise<void> {
    const { store, now } = this.#options;
    const { record, events, reservedSequence, takeovers } = claimed;
    const task = new Task({ record, now });
    task.takeOver(events, reservedSequence);
    store.add(task);
    const gate = attach(task);
    // The backend before may have ended before its log was written. A row that is there already stays as it is.
    void this.#options.record(task);
    await this.#track(task, (deadline) => this.#runAgain(task, { takeovers, deadline, turn: gate.turn }));
  }

  async resume({ record, reservedSequence, takeovers }: UnfinishedTask): Promise<void> {
    const { store, shared, recovery, now } = this.#options;
    // Its own process may have come back to it before its name was forgotten.
    if (store.has(record.id)) return;
    const task = shared
      ? new Task({ record, now })
      : new Task({
          record,
          now,
          lost: { count: reservedSequence, make: (sequence) => lostEvent(record, sequence) },
        });
    if (shared) task.takeOver([lostEvent(record, 1)], reservedSequence);
    store.add(task);
    await this.#track(task, async (deadline) => {
      const verdict = await shared?.accept(task);
      if (verdict && verdict.kind !== "own") {
        // It is in the hands of those who share the ledger.
        store.remove(task);
        return;
      }
      if (recovery && !verdict) task.gate = new ArchiveGate({ task, recovery, reservedSequence });
      await this.#runAgain(task, { takeovers, deadline, turn: verdict?.gate.turn });
    });
  }

  restore({ record, lastEvent }: FinishedTask): void {
    const { store, now } = this.#options;
    if (store.has(record.id)) return;
    const lost = {
      count: lastEvent.sequence - 1,
      make: (sequence: number) => lostEvent(record, sequence),
    };
    const task = new Task({ record, now, lost });
    task.mirror([lastEvent]);
    store.add(task);
    store.markFinished(task);
  }

  /** Its time begins again: it has been accepted, so it is to be answered. */
  #track(task: Task, work: (deadline: Deadline) => Promise<void>): Promise<void> {
    const { inFlight, turnTimeoutMs } = this.#options;
    return inFlight.track(task, turnTimeoutMs, work);
  }

  async #runAgain(
    task: Task,
    { takeovers, deadline, turn }: { takeovers: number; deadline: Deadline; turn: Promise<void> | undefined },
  ): Promise<void> {
    const { logger, recovery, inFlight, run } = this.#options;
    logger.warn({ taskId: task.id, tenantId: task.tenantId, takeovers }, "task taken over");
    const answer = async () => {
      // The backend before may have ended between writing the reply and showing it.
      const end = await recovery?.archive.findEnd(task.record).catch(() => undefined);
      if (end) return task.endAs(end);
      if (takeovers > TAKEOVERS_MAX) task.stop(givenUp(takeovers));
      const agent = await this.#agentOf(task);
      await task.restart("taken-over");
      await run(task, agent, deadline);
    };
    await inFlight.runInTurn(task, answer, turn);
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

/** Stands in for an event that nobody has kept: the first one can be made again, the others are void. */
function lostEvent(record: TaskRecord, sequence: number) {
  return Object.assign(sequence === 1 ? acceptedEvent(record) : voidEvent(record), { sequence });
}
