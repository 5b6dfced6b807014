/**
 * The tasks that can be followed: all running ones, and finished ones for a while. Finds a task by id, and by the
 * message it answers, always within a tenant and a sender. When there are too many finished ones, those of the
 * tenant that has most of them go first, so that none can have another's forgotten early.
 */
import { TenantShares } from "../../core/limits/tenant-shares.ts";
import { sizeBytesOf } from "./event-log.ts";
import type { Task } from "./task.ts";

/** Bounds of what is kept. */
export interface TaskStoreLimits {
  /** Finished tasks are forgotten after this time, milliseconds. */
  finishedAgeMsMax: number;
  /** And when there are more than this: the oldest of the tenant that has most. */
  finishedCountMax: number;
  /** Or when they take more memory than this, bytes: the oldest of the tenant whose take most. */
  finishedBytesMax: number;
}

/** Enough for a client to reconnect after a bad network; later the durable log has the reply. */
export const TASK_STORE_LIMITS: TaskStoreLimits = {
  finishedAgeMsMax: 300_000,
  finishedCountMax: 1_000,
  finishedBytesMax: 64 * 1024 * 1024,
};

interface FinishedTask {
  tenantId: string;
  atMs: number;
  sizeBytes: number;
}

/** In-memory task store. */
export class TaskStore {
  readonly #byId = new Map<string, Task>();
  readonly #byMessage = new Map<string, Task>();
  /** Finished tasks by id, oldest first (insertion order). */
  readonly #finished = new Map<string, FinishedTask>();
  readonly #finishedCount: TenantShares;
  readonly #finishedBytes: TenantShares;
  readonly #limits: TaskStoreLimits;
  readonly #now: () => number;

  constructor(limits: TaskStoreLimits, now: () => number) {
    this.#limits = limits;
    this.#now = now;
    this.#finishedCount = new TenantShares(limits.finishedCountMax);
    this.#finishedBytes = new TenantShares(limits.finishedBytesMax);
  }

  /** The task that answers this message. */
  findByMessage(tenantId: string, senderId: string, messageId: string): Task | undefined {
    this.#forgetOld();
    return this.#byMessage.get(`${tenantId}\n${senderId}\n${messageId}`);
  }

  /** The task, when this subject of this tenant sent its message. */
  findOwn(tenantId: string, owner: string, taskId: string): Task | undefined {
    this.#forgetOld();
    const task = this.#byId.get(taskId);
    return task?.tenantId === tenantId && task.owner === owner ? task : undefined;
  }

  /** Keeps a task from its acceptance on. */
  add(task: Task): void {
    this.#byId.set(task.id, task);
    this.#byMessage.set(messageKey(task), task);
  }

  /** Forgets a task at once: it is another backend's. */
  remove(task: Task): void {
    this.#byId.delete(task.id);
    if (this.#byMessage.get(messageKey(task)) === task) this.#byMessage.delete(messageKey(task));
  }

  /** Whether it is kept, running or finished. */
  has(taskId: string): boolean {
    return this.#byId.has(taskId);
  }

  /** Starts the clock after which a finished task is forgotten. */
  markFinished(task: Task): void {
    const sizeBytes = task.events.sizeBytes + sizeBytesOf(task.message);
    this.#finished.set(task.id, { tenantId: task.tenantId, atMs: this.#now(), sizeBytes });
    this.#finishedCount.take(task.tenantId, 1);
    this.#finishedBytes.take(task.tenantId, sizeBytes);
    this.#forgetOld();
  }

  #forgetOld(): void {
    const { finishedAgeMsMax, finishedCountMax, finishedBytesMax } = this.#limits;
    const oldestMs = this.#now() - finishedAgeMsMax;
    for (const [taskId, { atMs }] of this.#finished) {
      if (atMs > oldestMs) break;
      this.#forget(taskId);
    }
    while (this.#finishedCount.total > finishedCountMax) this.#forgetOldestOf(this.#finishedCount.heaviest);
    while (this.#finishedBytes.total > finishedBytesMax) this.#forgetOldestOf(this.#finishedBytes.heaviest);
  }

  #forgetOldestOf(tenantId: string | undefined): void {
    for (const [taskId, finished] of this.#finished) {
      if (finished.tenantId !== tenantId) continue;
      this.#forget(taskId);
      return;
    }
  }

  #forget(taskId: string): void {
    const finished = this.#finished.get(taskId);
    if (!finished) return;
    this.#finished.delete(taskId);
    this.#finishedCount.release(finished.tenantId, 1);
    this.#finishedBytes.release(finished.tenantId, finished.sizeBytes);
    const task = this.#byId.get(taskId);
    // The message may have been run again since, as another task.
    if (task) this.remove(task);
  }
}

/** Ids never contain line ends, so the parts cannot run into each other. */
function messageKey({ tenantId, message: { senderId, messageId } }: Task): string {
  return `${tenantId}\n${senderId}\n${messageId}`;
}
