/**
 * The port to what the durable log knows of tasks, for the process that comes after: which messages were accepted and
 * not answered, and how tasks ended. It is asked beside the work, never on a message's way. Methods reject with
 * ParleyError `unavailable` when the database cannot be asked.
 */
import type { A2AMessage } from "../../proto/gen/parley/v1/agent_service_pb.js";
import type { TaskRecord, TaskReference } from "./task-ledger.ts";

/**
 * Numbers reserved ahead of what has been shown; the first so many without a word. A task that is taken up again gets
 * as many void events at most, and a long answer costs one statement for each half of it.
 */
export const ARCHIVE_RESERVED_EVENTS = 128;

/** A task whose backend has ended before it. */
export interface UnfinishedTask {
  readonly record: TaskRecord;
  /** Followers may have seen events up to here. */
  readonly reservedSequence: number;
  /** How often it has been taken up, this time included. */
  readonly takeovers: number;
}

/** A task that has ended. */
export interface FinishedTask {
  readonly record: TaskRecord;
  /** With its sequence. */
  readonly lastEvent: A2AMessage;
}

/** See above. */
export interface TaskArchive {
  /**
   * Says that this backend lives, and resolves with whether there are others that have been silent for the lease
   * time.
   */
  beat(): Promise<boolean>;

  /**
   * Takes up at most `tasksMax` tasks, oldest first, of backends that have been silent for the lease time, or of all
   * others where there can be only one. Tasks that cannot be run again are left out.
   */
  claimUnfinished(tasksMax: number): Promise<UnfinishedTask[]>;

  /** Forgets the backends whose tasks have all been taken up. */
  forgetSilent(): Promise<void>;

  /** Tasks that ended a short time ago, oldest first. */
  readFinished(): Promise<FinishedTask[]>;

  /** How a task ended; undefined when it has not, or when that is not known. */
  findEnd(record: TaskRecord): Promise<A2AMessage | undefined>;

  /** Followers may see events up to this sequence from now on. */
  reserve(task: TaskReference, reservedSequence: number): Promise<void>;

  /** Whether no other backend has taken the task up. */
  isOwn(task: TaskReference, signal: AbortSignal): Promise<boolean>;

  /** This backend ends, and leaves nothing behind that it still runs. */
  leave(): Promise<void>;
}
