/**
 * The port to what backends share about tasks: which message became which task, who runs it under lease, whose turn
 * it is in a context, and the task's events. A backend works without it, alone: every method may reject with
 * ParleyError `unavailable`, and what it was to do may then have been done or not, or be done later.
 *
 * A lease is held by one backend. It ends when it is not renewed for the lease time; then another backend may claim
 * the task. Every write names its lease, and a write under a lease that somebody else has taken does nothing.
 */
import type { A2AMessage } from "../../proto/gen/parley/v1/agent_service_pb.js";

/** What a backend needs to know to run a task that another one accepted. */
export interface TaskRecord {
  readonly id: string;
  readonly tenantId: string;
  /** Subject of the caller that sent the message. */
  readonly owner: string;
  /** Complete: message, sender, receiver and context ids set. */
  readonly message: A2AMessage;
  readonly requestId: string;
  readonly keyId: string;
  readonly agentVersion: number;
  /** Whether the caller may know which models were called for its reply. Default false. */
  readonly showsAttempts?: boolean;
  /** Tells two messages under one id apart. */
  readonly payloadHash: string;
}

/** Names a task. */
export interface TaskReference {
  readonly tenantId: string;
  readonly taskId: string;
}

/** The right to run a task. */
export interface Lease extends TaskReference {
  /** Its context and its message, by which the ledger finds what belongs to the task. */
  readonly contextId: string;
  readonly senderId: string;
  readonly messageId: string;
  /** Fences: no two leases of a task are the same. */
  readonly token: string;
}

/** Events to be kept, in order, each with its sequence. */
export interface EventBatch {
  readonly events: readonly A2AMessage[];
  /** Highest sequence that followers may have seen before the next batch is kept. */
  readonly reservedSequence: number;
}

/** What became of a message. */
export type AcceptOutcome =
  /** It is this backend's task; `isFirst`: no other turn of its context is before it. */
  | { readonly kind: "accepted"; readonly lease: Lease; readonly isFirst: boolean }
  /** It has a task already, running or ended. */
  | { readonly kind: "known"; readonly task: KnownTask }
  /** Its id was used for another message. */
  | { readonly kind: "conflict" };

/** A task as the ledger knows it. */
export interface KnownTask {
  readonly record: TaskRecord;
  readonly hasEnded: boolean;
  /** Up to which its events are kept. */
  readonly sequence: number;
}

/**
 * How a lease stands. `lost`: another backend has taken the task over, or it has ended. `gone`: the ledger knows
 * nothing of the task, because it has lost its memory.
 */
export type LeaseState =
  | {
      readonly kind: "held";
      /** No other turn of its context is before it. */
      readonly isFirst: boolean;
      readonly isCanceled: boolean;
      /** Somebody follows it on another backend. */
      readonly isFollowed: boolean;
    }
  | { readonly kind: "lost" }
  | { readonly kind: "gone" };

/** A task taken over from a backend whose lease has ended. */
export interface ClaimedTask {
  readonly record: TaskRecord;
  readonly lease: Lease;
  readonly state: Extract<LeaseState, { kind: "held" }>;
  /** The events that were kept, from 1 on without gaps. */
  readonly events: readonly A2AMessage[];
  readonly reservedSequence: number;
  /** How often the task has been taken over, this time included. */
  readonly takeovers: number;
}

/** Something that concerns a task of this backend. */
export interface LedgerNotice {
  /** `turn`: the turns before it have ended. `follow`: somebody follows it elsewhere. `cancel`: it is to stop. */
  readonly kind: "turn" | "follow" | "cancel";
  readonly taskId: string;
}

/** Hears the events of a task that runs elsewhere. */
export interface EventListener {
  /** In order; some may come twice. */
  onEvents(events: readonly A2AMessage[]): void;
  /** No more will come; the ledger cannot be asked. */
  onBroken(error: unknown): void;
}

/** See above. */
export interface TaskLedger {
  /** Whether it can be asked at this moment. */
  readonly isReady: boolean;
  /** How long a lease lasts without renewal, milliseconds. */
  readonly leaseMs: number;

  /** Calls `onReady` each time that it can be asked again, `onFailing` when it cannot any more. */
  listen(listener: { onReady(): void; onFailing(): void; onNotice(notice: LedgerNotice): void }): void;

  /**
   * Decides, for all backends, what becomes of a message: one task a message (tenant, sender, message id), unless
   * its task ended so that it may be run again. `batch` is the task's first events. Asked again for the same task,
   * it gives the same answer.
   */
  accept(record: TaskRecord, batch: EventBatch): Promise<AcceptOutcome>;

  /** Keeps events and renews the lease. Events that are kept already are left alone. */
  append(lease: Lease, batch: EventBatch): Promise<LeaseState>;

  /**
   * Keeps the last events, ends the task and gives the turn to the next of its context.
   *
   * @param mayRunAgain whether the same message, sent again, becomes a new task
   */
  finish(lease: Lease, batch: EventBatch, mayRunAgain: boolean): Promise<LeaseState>;

  /** Renews leases; one state for each, in order. */
  renew(leases: readonly Lease[]): Promise<LeaseState[]>;

  /** Takes over at most `tasksMax` tasks whose leases have ended; call it after {@link renew}. */
  claim(tasksMax: number): Promise<ClaimedTask[]>;

  find(task: TaskReference): Promise<KnownTask | undefined>;
  findByMessage(tenantId: string, senderId: string, messageId: string): Promise<KnownTask | undefined>;

  /** Asks the backend that runs the task to stop it; nothing happens to one that has ended. */
  cancel(task: TaskReference): Promise<void>;

  /** Tells the listener of a task's events, from the first on; returns what ends that. */
  follow(record: TaskRecord, listener: EventListener): () => void;

  /** Stops reading; leases are left to end. */
  close(): void;
}
