/**
 * The gate of a task that this backend runs under a lease of the ledger. Events go to the ledger in batches, long
 * before the reserved numbers are used up, and soon when somebody follows the task on another backend. States:
 *
 * - held: the lease is known and the ledger answers; numbers are shown within the reservation.
 * - away: the ledger does not answer. The task goes on in this process, unreserved; what is missing in the ledger is
 *   written when it is back.
 * - orphaned: the ledger is back and gives the task to another backend, but followers here have seen more than was
 *   reserved: they get their answer from here, and nobody else sees it.
 * - lost: another backend has the task; what this one does counts for nothing.
 */
import type { A2AMessage } from "../../proto/gen/parley/v1/agent_service_pb.js";
import type { EventGate } from "./event-gate.ts";
import type { Task } from "./task.ts";
import type { EventBatch, Lease, LeaseState, TaskLedger } from "./task-ledger.ts";

/**
 * Numbers reserved ahead of what is kept. A task that is taken over gets as many void events at most, and the ledger
 * is written to once in half as many: 2,000 tokens cost some 32 writes.
 */
export const RESERVED_EVENTS = 128;
/** How long events wait for more of them while somebody follows on another backend. */
const FOLLOWED_FLUSH_MS = 40;

/** What a gate works with. */
export interface LedgerGateOptions {
  readonly ledger: TaskLedger;
  readonly task: Task;
  /** Called once, when the task is another backend's. */
  readonly onLost: () => void;
  /** The ledger has forgotten the task: it has to be accepted anew. */
  readonly onGone: () => void;
  /** Monotonic, milliseconds. */
  readonly now: () => number;
}

type State = "held" | "away" | "orphaned" | "lost";

/** See above. */
export class LedgerGate implements EventGate {
  readonly task: Task;
  readonly #options: LedgerGateOptions;
  readonly #turn = Promise.withResolvers<void>();
  #state: State = "away";
  #lease: Lease | undefined;
  #reservedSequence = 0;
  #keptSequence = 0;
  #confirmedAtMs = Number.NEGATIVE_INFINITY;
  #writing: Promise<void> | undefined;
  #flushTimer: NodeJS.Timeout | undefined;
  #isFollowed = false;
  #isSettled = false;

  constructor(options: LedgerGateOptions) {
    this.#options = options;
    this.task = options.task;
  }

  /** What a task is accepted with: its first event, and the numbers that it may use before the next write. */
  firstBatch(): EventBatch {
    const events = this.task.events.after(0).slice(0, 1);
    return { events, reservedSequence: this.task.events.sequence + RESERVED_EVENTS };
  }

  /** The lease, unless the task is another backend's. */
  get lease(): Lease | undefined {
    return this.#state === "held" || this.#state === "away" ? this.#lease : undefined;
  }

  /** Whether the ledger has to be told of the task when it is back. */
  get isAway(): boolean {
    return this.#state === "away" && !this.#isSettled;
  }

  /** Whether there is nothing more to tell the ledger, ever. */
  get isDone(): boolean {
    return this.#isSettled || this.#state === "orphaned" || this.#state === "lost";
  }

  /** Resolves when no other turn of the context is before this one, or when nobody can say so. */
  get turn(): Promise<void> {
    return this.#turn.promise;
  }

  /** The ledger has the task, with what stands in `batch`, under this lease. */
  attach(lease: Lease, batch: EventBatch, isFirst: boolean): void {
    this.#lease = lease;
    this.#state = "held";
    this.#keptSequence = batch.events.at(-1)?.sequence ?? 0;
    this.#reservedSequence = batch.reservedSequence;
    this.#confirmedAtMs = this.#options.now();
    if (isFirst) this.#turn.resolve();
    this.#catchUp();
  }

  /** The ledger does not answer, or has not answered in time. */
  leave(): void {
    if (this.#state === "held") this.#state = "away";
    this.#turn.resolve();
  }

  /** The ledger has another task for the message, or none that could be joined. */
  orphan(): void {
    this.#state = "orphaned";
    this.#turn.resolve();
  }

  /** What the ledger says of the lease. */
  note(state: LeaseState): void {
    if (this.#state === "orphaned" || this.#state === "lost" || this.#isSettled) return;
    if (state.kind === "lost") {
      this.#lose();
      return;
    }
    if (state.kind === "gone") {
      this.leave();
      this.#lease = undefined;
      this.#options.onGone();
      return;
    }
    this.#confirmedAtMs = this.#options.now();
    if (state.isFirst) this.#turn.resolve();
    if (state.isCanceled) this.task.cancel();
    if (state.isFollowed) this.noteFollowed();
    if (this.#state === "away") {
      this.#state = "held";
      this.#catchUp();
    }
  }

  /** The task was about to be claimed by others, and was claimed by this backend itself. */
  reclaim(lease: Lease, state: LeaseState): void {
    if (this.#state !== "held" && this.#state !== "away") return;
    this.#lease = lease;
    this.note(state);
  }

  /** Its turn has come. */
  noteTurn(): void {
    this.#turn.resolve();
  }

  /** Somebody follows the task on another backend. */
  noteFollowed(): void {
    if (this.#isFollowed) return;
    this.#isFollowed = true;
    if (this.task.events.sequence > this.#keptSequence) this.#flush();
  }

  admit(sequence: number): Promise<void> | undefined {
    if (this.#state !== "held" || sequence <= this.#reservedSequence) return undefined;
    return this.#reserve(sequence);
  }

  appended(): void {
    if (this.#state !== "held") return;
    const left = this.#reservedSequence - this.task.events.sequence;
    if (left <= RESERVED_EVENTS / 2) this.#flush();
    else if (this.#isFollowed) this.#flushTimer ??= setTimeout(() => this.#flush(), FOLLOWED_FLUSH_MS);
  }

  async isHeld(): Promise<boolean> {
    const { ledger, now } = this.#options;
    // Nobody can have claimed the task sooner than a lease time after the last word of the ledger.
    if (now() - this.#confirmedAtMs > ledger.leaseMs / 2) await this.#flush();
    return this.#state !== "lost";
  }

  async end(last: A2AMessage, mayRunAgain: boolean): Promise<boolean> {
    clearTimeout(this.#flushTimer);
    await this.#writing;
    this.#turn.resolve();
    if (this.#state === "held" && this.#lease) {
      const events = [...this.task.events.after(this.#keptSequence), last];
      await this.#settle(this.#lease, { events, reservedSequence: last.sequence }, mayRunAgain);
    }
    return this.#state !== "lost";
  }

  /** Writes the end of the task. */
  async #settle(lease: Lease, batch: EventBatch, mayRunAgain: boolean): Promise<void> {
    try {
      const state = await this.#options.ledger.finish(lease, batch, mayRunAgain);
      if (state.kind === "lost") this.#lose();
      else if (state.kind === "gone") this.leave();
      else this.#isSettled = true;
    } catch {
      this.leave();
    }
  }

  /** Writes what the ledger does not have, be it the task's end. */
  #catchUp(): void {
    const { events, mayRunAgain } = this.task;
    if (events.ended && this.#lease) {
      const missing = { events: events.after(this.#keptSequence), reservedSequence: events.sequence };
      this.#settle(this.#lease, missing, mayRunAgain);
    } else if (events.sequence > this.#keptSequence) this.#flush();
  }

  async #reserve(sequence: number): Promise<void> {
    while (this.#state === "held" && sequence > this.#reservedSequence) await this.#flush();
  }

  #flush(): Promise<void> {
    this.#writing ??= this.#write().finally(() => {
      this.#writing = undefined;
    });
    return this.#writing;
  }

  async #write(): Promise<void> {
    clearTimeout(this.#flushTimer);
    this.#flushTimer = undefined;
    const lease = this.#lease;
    if (!lease || this.#state !== "held") return;
    const events = this.task.events.after(this.#keptSequence);
    const keptSequence = this.task.events.sequence;
    const reservedSequence = keptSequence + RESERVED_EVENTS;
    try {
      const state = await this.#options.ledger.append(lease, { events, reservedSequence });
      if (state.kind === "held") {
        this.#keptSequence = keptSequence;
        this.#reservedSequence = reservedSequence;
      }
      this.note(state);
    } catch {
      this.leave();
    }
  }

  #lose(): void {
    if (this.task.events.ended) {
      this.#isSettled = true;
      return;
    }
    if (this.task.events.sequence > this.#reservedSequence) {
      this.orphan();
      return;
    }
    this.#state = "lost";
    this.#turn.resolve();
    this.#options.onLost();
  }
}
