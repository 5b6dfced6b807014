/**
 * The tasks that can be followed: all running ones, and finished ones for a while. Finds a task by id, and by the
 * message it answers, always within a tenant and a sender.
 */
import type { Task } from "./task.ts";

/** Bounds of what is kept. */
export interface TaskStoreLimits {
  /** Finished tasks are forgotten after this time, milliseconds. */
  finishedAgeMsMax: number;
  /** And the oldest of them when there are more than this. */
  finishedCountMax: number;
}

/** Enough for a client to reconnect after a bad network; later the durable log has the reply. */
export const TASK_STORE_LIMITS: TaskStoreLimits = { finishedAgeMsMax: 300_000, finishedCountMax: 1_000 };

interface StoredTask {
  task: Task;
  payloadHash: string;
}

/** In-memory task store. */
export class TaskStore {
  readonly #byId = new Map<string, StoredTask>();
  readonly #byMessage = new Map<string, StoredTask>();
  /** Finish times by task id, oldest first (insertion order). */
  readonly #finished = new Map<string, number>();
  readonly #limits: TaskStoreLimits;
  readonly #now: () => number;

  constructor(limits: TaskStoreLimits, now: () => number) {
    this.#limits = limits;
    this.#now = now;
  }

  /** The task that answers this message, and the hash of what the message said. */
  findByMessage(tenantId: string, senderId: string, messageId: string): StoredTask | undefined {
    this.#forgetOld();
    return this.#byMessage.get(messageKey(tenantId, senderId, messageId));
  }

  /** The task, when it belongs to this tenant and sender. */
  findOwn(tenantId: string, senderId: string, taskId: string): Task | undefined {
    this.#forgetOld();
    const task = this.#byId.get(taskId)?.task;
    return task?.tenantId === tenantId && task.message.senderId === senderId ? task : undefined;
  }

  /** Keeps a task from its acceptance on. */
  add(task: Task, payloadHash: string): void {
    const stored = { task, payloadHash };
    this.#byId.set(task.id, stored);
    this.#byMessage.set(messageKey(task.tenantId, task.message.senderId, task.message.messageId), stored);
  }

  /** Starts the clock after which a finished task is forgotten. */
  markFinished(task: Task): void {
    this.#finished.set(task.id, this.#now());
    this.#forgetOld();
  }

  #forgetOld(): void {
    const oldestMs = this.#now() - this.#limits.finishedAgeMsMax;
    for (const [taskId, finishedAtMs] of this.#finished) {
      if (finishedAtMs > oldestMs && this.#finished.size <= this.#limits.finishedCountMax) return;
      this.#finished.delete(taskId);
      const task = this.#byId.get(taskId)?.task;
      this.#byId.delete(taskId);
      if (task)
        this.#byMessage.delete(messageKey(task.tenantId, task.message.senderId, task.message.messageId));
    }
  }
}

/** Ids never contain line ends, so the parts cannot run into each other. */
function messageKey(tenantId: string, senderId: string, messageId: string): string {
  return `${tenantId}\n${senderId}\n${messageId}`;
}
