/**
 * The gate of a task that no ledger knows: numbers are reserved in the database, in steps, so that the process that
 * takes the task up again after a crash knows which ones followers may have seen. When the database does not answer,
 * the task goes on unreserved.
 */
import type { EventGate } from "./event-gate.ts";
import type { Task } from "./task.ts";
import { ARCHIVE_RESERVED_EVENTS, type TaskArchive } from "./task-archive.ts";

/** What a gate works with. */
export interface ArchiveGateOptions {
  readonly task: Task;
  readonly archive: TaskArchive;
  /** Up to which numbers are reserved already. */
  readonly reservedSequence: number;
  /** Whether nobody can have taken this backend for dead since it was asked for the last time. */
  readonly isAlive: () => boolean;
}

/** See above. */
export class ArchiveGate implements EventGate {
  readonly #options: ArchiveGateOptions;
  #reservedSequence: number;
  #reserving: Promise<void> | undefined;

  constructor(options: ArchiveGateOptions) {
    this.#options = options;
    this.#reservedSequence = options.reservedSequence;
  }

  admit(sequence: number): Promise<void> | undefined {
    return sequence <= this.#reservedSequence ? undefined : this.#reserve();
  }

  appended(): void {
    const left = this.#reservedSequence - this.#options.task.events.sequence;
    if (left <= ARCHIVE_RESERVED_EVENTS / 2) this.#reserve();
  }

  async isHeld(): Promise<boolean> {
    const { task, archive, isAlive } = this.#options;
    if (isAlive()) return true;
    return archive.isOwn({ tenantId: task.tenantId, taskId: task.id }).catch(() => true);
  }

  async end(): Promise<boolean> {
    return true;
  }

  #reserve(): Promise<void> {
    const { task, archive } = this.#options;
    const reservedSequence = task.events.sequence + ARCHIVE_RESERVED_EVENTS;
    this.#reserving ??= archive
      .reserve({ tenantId: task.tenantId, taskId: task.id }, reservedSequence)
      .catch(() => {})
      .then(() => {
        this.#reservedSequence = reservedSequence;
        this.#reserving = undefined;
      });
    return this.#reserving;
  }
}
