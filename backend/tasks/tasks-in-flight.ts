/**
 * The tasks that this process runs or is about to run: how many there may be, whose they are, how long they may take,
 * and that turns of one context run one at a time.
 */
import { TenantShares } from "../../core/limits/tenant-shares.ts";
import { Deadline, deadlineExceeded } from "../../core/resilience/deadline.ts";
import { ContextQueue } from "./context-queue.ts";
import type { Task } from "./task.ts";

/** What it works with. */
export interface TasksInFlightOptions {
  readonly tasksMax: number;
  /** Monotonic, milliseconds. */
  readonly now: () => number;
  /** A task has ended, or is another backend's. */
  readonly onDone: (task: Task) => void;
}

/** See above. */
export class TasksInFlight {
  readonly #options: TasksInFlightOptions;
  readonly #contexts = new ContextQueue();
  /** Tasks that have not ended, and when they will have. */
  readonly #inFlight = new Map<Task, Promise<void>>();
  readonly #shares: TenantShares;

  constructor(options: TasksInFlightOptions) {
    this.#options = options;
    this.#shares = new TenantShares(options.tasksMax);
  }

  /** How many more there may be. */
  get room(): number {
    return this.#options.tasksMax - this.#shares.total;
  }

  /** Whether there may be one more of this tenant's. */
  hasRoom(tenantId: string): boolean {
    return this.#shares.hasRoom(tenantId);
  }

  /** Counts a task until `work` is done, and stops it when its time is up. Never rejects. */
  track(task: Task, budgetMs: number, work: (deadline: Deadline) => Promise<void>): Promise<void> {
    const deadline = Deadline.after(budgetMs, this.#options.now);
    const timer = setTimeout(() => task.stop(deadlineExceeded()), budgetMs);
    this.#shares.take(task.tenantId, 1);
    const done = work(deadline)
      .catch((error) => task.endUnexpectedly(error))
      .finally(() => {
        clearTimeout(timer);
        this.#inFlight.delete(task);
        this.#shares.release(task.tenantId, 1);
        this.#options.onDone(task);
      });
    this.#inFlight.set(task, done);
    return done;
  }

  /**
   * Runs `start` when the turns before it in its context have ended; at once when the task is stopped while it waits.
   *
   * @param turn what other backends' turns are waited for with; undefined where there are none
   */
  async runInTurn(task: Task, start: () => Promise<void>, turn?: Promise<void>): Promise<void> {
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
    await Promise.race([turn ? turn.then(enqueue) : enqueue(), stopped]);
  }

  /** Waits for all of them; `end` is called for those that have not ended when the signal aborts. */
  async drain(graceSignal: AbortSignal, end: (task: Task) => void): Promise<void> {
    const endAll = () => {
      for (const task of this.#inFlight.keys()) end(task);
    };
    graceSignal.addEventListener("abort", endAll, { once: true });
    if (graceSignal.aborted) endAll();
    await Promise.all(this.#inFlight.values());
    graceSignal.removeEventListener("abort", endAll);
  }
}
