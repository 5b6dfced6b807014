/**
 * Takes up what another process of this database accepted and did not answer, and tells of what it answered: once
 * before this backend serves, and, where several use the database, as soon as one of them has fallen silent.
 */
import { ParleyError } from "../../core/errors/parley-error.ts";
import type { FinishedTask, TaskArchive, UnfinishedTask } from "./task-archive.ts";
import type { TaskReference } from "./task-ledger.ts";

/** Tasks taken up with one statement. */
const CLAIM_TASKS_MAX = 100;
/** The database is told that this backend lives, and asked about the others, this often in a lease time. */
const BEATS_PER_LEASE = 4;
/** A healthy database answers in milliseconds. */
const OWN_WAIT_MS = 300;

/** What the engine does with what is found. */
export interface RecoveryHost {
  /** How many more tasks it can run. */
  room(): number;
  /** Runs the task again. Never rejects. */
  resume(task: UnfinishedTask): Promise<void>;
  /** Keeps it to be followed and for messages that are sent again. */
  restore(task: FinishedTask): void;
}

/** How it works. */
export interface TaskRecoveryOptions {
  readonly archive: TaskArchive;
  readonly leaseMs: number;
  /** Whether nobody else can use the database while this process does. */
  readonly isAlone: boolean;
  /** Monotonic, milliseconds. */
  readonly now: () => number;
  readonly onFailure: (error: unknown) => void;
}

/** See above. */
export class TaskRecovery {
  readonly archive: TaskArchive;
  readonly #options: TaskRecoveryOptions;
  #timer: NodeJS.Timeout | undefined;
  #beating: Promise<void> | undefined;
  #beatAtMs = Number.NEGATIVE_INFINITY;
  /** When the last time ended in which others may have taken this backend for dead. */
  #silentUntilMs = Number.NEGATIVE_INFINITY;
  /** The last sign of life could not be given. */
  #isFailing = false;

  constructor(options: TaskRecoveryOptions) {
    this.archive = options.archive;
    this.#options = options;
  }

  /**
   * Whether a task that has been this backend's since `sinceMs` still is, as far as it can tell in a short time: surely
   * so when the database has heard of this backend all the while, or nobody else can use the database. After a
   * standstill of this process the database is asked; when it does not answer, the answer goes out.
   */
  async isHeld(task: TaskReference, sinceMs: number): Promise<boolean> {
    const { archive, leaseMs, isAlone, now } = this.#options;
    if (isAlone || this.#isFailing) return true;
    if (sinceMs > this.#silentUntilMs && now() - this.#beatAtMs < leaseMs / 2) return true;
    return archive.isOwn(task, AbortSignal.timeout(OWN_WAIT_MS)).catch(() => true);
  }

  /** Monotonic, milliseconds; what `isHeld` compares with. */
  now(): number {
    return this.#options.now();
  }

  /** Resolves when all that can be had at once has been taken up; then goes on looking. */
  async start(host: RecoveryHost): Promise<void> {
    for (const task of await this.archive.readFinished()) host.restore(task);
    await this.#beat(host);
    const { leaseMs, onFailure } = this.#options;
    this.#timer = setInterval(() => {
      this.#beating ??= this.#beat(host)
        .catch((error) => {
          this.#isFailing = true;
          // That the database is away is logged where it is noticed first.
          if (!(error instanceof ParleyError && error.code === "unavailable")) onFailure(error);
        })
        .finally(() => {
          this.#beating = undefined;
        });
    }, leaseMs / BEATS_PER_LEASE);
    this.#timer.unref();
  }

  /** Takes up nothing any more; after the last task has ended, or been left to others. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#beating;
    await this.archive.leave().catch(() => {});
  }

  async #beat(host: RecoveryHost): Promise<void> {
    const startedAtMs = this.#options.now();
    const areOthersSilent = await this.archive.beat();
    if (this.#options.now() - this.#beatAtMs > this.#options.leaseMs)
      this.#silentUntilMs = this.#options.now();
    this.#beatAtMs = startedAtMs;
    this.#isFailing = false;
    if (!areOthersSilent) return;
    for (;;) {
      const tasksMax = Math.min(host.room(), CLAIM_TASKS_MAX);
      if (tasksMax <= 0) return;
      const tasks = await this.archive.claimUnfinished(tasksMax);
      // Whatever becomes of it is the task's own end.
      for (const task of tasks) void host.resume(task);
      if (tasks.length === 0) break;
    }
    await this.archive.forgetSilent();
  }
}
