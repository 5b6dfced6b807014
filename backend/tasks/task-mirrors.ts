/**
 * The tasks of other backends, as they are shown here: each is read from the ledger once, whoever and however many
 * follow it here. When the ledger fails, following ends with its error, and can begin again from the same position.
 */
import { ParleyError } from "../../core/errors/parley-error.ts";
import { RESERVED_EVENTS } from "./ledger-gate.ts";
import { Task } from "./task.ts";
import type { KnownTask, TaskLedger, TaskReference } from "./task-ledger.ts";

/** Tasks of other backends that are shown here at once: each is held in memory whole. */
const MIRRORS_MAX = 4_096;
/** What the ledger has of a task is read in milliseconds. */
const CATCH_UP_MS = 2_000;
const RETRY_AFTER_MS = 1_000;

/** See above. */
export class TaskMirrors {
  readonly #ledger: TaskLedger;
  readonly #now: () => number;
  readonly #mirrors = new Map<string, Task>();

  /** @param now Unix epoch, milliseconds */
  constructor(ledger: TaskLedger, now: () => number) {
    this.#ledger = ledger;
    this.#now = now;
  }

  /**
   * A task that runs, or ran, on another backend.
   *
   * @throws ParleyError `unavailable` when the ledger cannot be asked
   */
  async find(reference: TaskReference): Promise<Task | undefined> {
    const mirror = this.#mirrors.get(reference.taskId);
    if (mirror) return mirror.tenantId === reference.tenantId ? mirror : undefined;
    const known = await this.#ledger.find(reference);
    return known && this.show(known);
  }

  /** The same, by the message that it answers. */
  async findByMessage(tenantId: string, senderId: string, messageId: string): Promise<Task | undefined> {
    const known = await this.#ledger.findByMessage(tenantId, senderId, messageId);
    return known && this.show(known);
  }

  /** Resolves when what the ledger has of the task is there. */
  async show({ record, sequence }: KnownTask): Promise<Task> {
    let task = this.#mirrors.get(record.id);
    if (!task) {
      if (this.#mirrors.size >= MIRRORS_MAX) throw tooManyFollowed();
      task = new Task({ record, now: this.#now });
      this.follow(task);
    }
    if (task.events.sequence >= sequence) return task;
    for await (const event of task.events.follow(0, AbortSignal.timeout(CATCH_UP_MS))) {
      if (event.sequence >= sequence) break;
    }
    return task;
  }

  /** From now on shows in `task` what the backend that runs it says. */
  follow(task: Task): void {
    const ledger = this.#ledger;
    const reference = { tenantId: task.tenantId, taskId: task.id };
    this.#mirrors.set(task.id, task);
    const breakOff = (error: unknown) => {
      stop();
      this.#mirrors.delete(task.id);
      task.events.break(error);
    };
    task.runsElsewhere(() => void ledger.cancel(reference).catch(breakOff), 2 * RESERVED_EVENTS);
    const stop = ledger.follow(task.record, {
      onEvents: (events) => {
        task.mirror(events);
        if (!task.events.ended) return;
        stop();
        this.#mirrors.delete(task.id);
      },
      onBroken: breakOff,
    });
  }
}

function tooManyFollowed(): ParleyError {
  return new ParleyError(
    "resource_exhausted",
    "too many tasks of other backends are followed here at the moment",
    { retryable: true, retryAfterMs: RETRY_AFTER_MS },
  );
}
