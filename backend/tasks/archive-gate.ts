/**
 * The gate of a task that no ledger knows: numbers are reserved in the database, in steps, so that the process that
 * takes the task up again after a crash knows which ones followers may have seen. When the database does not answer,
 * the task goes on unreserved.
 */
import { takenOver } from "./engine-errors.ts";
import type { EventGate } from "./event-gate.ts";
import type { Task } from "./task.ts";
import { ARCHIVE_RESERVED_EVENTS } from "./task-archive.ts";
import type { TaskRecovery } from "./task-recovery.ts";

/** What a gate works with. */
export interface ArchiveGateOptions {
  readonly task: Task;
  readonly recovery: TaskRecovery;
  /** Up to which numbers are reserved already. */
  readonly reservedSequence: number;
}

/** See above. */
export class ArchiveGate implements EventGate {
  readonly #options: ArchiveGateOptions;
  readonly #sinceMs: number;
  #reservedSequence: number;
  #reserving: Promise<void> | undefined;

  constructor(options: ArchiveGateOptions) {
    this.#options = options;
    this.#reservedSequence = options.reservedSequence;
    this.#sinceMs = options.recovery.now();
  }

  admit(sequence: number): Promise<void> | undefined {
    return sequence <= this.#reservedSequence ? undefined : this.#reserve();
  }

  appended(): void {
    const left = this.#reservedSequence - this.#options.task.events.sequence;
    if (left <= ARCHIVE_RESERVED_EVENTS / 2) this.#reserve();
  }

  async isHeld(): Promise<boolean> {
    const { task, recovery } = this.#options;
    const reference = { tenantId: task.tenantId, taskId: task.id };
    if (await recovery.isHeld(reference, this.#sinceMs)) return true;
    // Whoever has it now cannot be followed from here.
    task.abandon(takenOver());
    return false;
  }

  async end(): Promise<boolean> {
    return true;
  }

  #reserve(): Promise<void> {
    const { task, recovery } = this.#options;
    const reservedSequence = task.events.sequence + ARCHIVE_RESERVED_EVENTS;
    this.#reserving ??= recovery.archive
      .reserve({ tenantId: task.tenantId, taskId: task.id }, reservedSequence)
      .catch(() => {})
      .then(() => {
        this.#reservedSequence = reservedSequence;
        this.#reserving = undefined;
      });
    return this.#reserving;
  }
}
