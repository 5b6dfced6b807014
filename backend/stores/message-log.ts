/**
 * The writer of the durable log: entries that arrive while one batch is being written go out together as the
 * next one (group commit), so that the database's time per commit is shared and nobody waits for a timer. What may
 * wait is bounded, and shared among tenants.
 */
import { abortable } from "../../core/directory/abortable.ts";
import { ParleyError } from "../../core/errors/parley-error.ts";
import { TenantShares } from "../../core/limits/tenant-shares.ts";
import type { LogEntry, LogState, MessageLog } from "../../core/log/message-log.ts";
import { fullJitterMs, sleep } from "../../core/resilience/full-jitter.ts";

/** Enough that the commit costs little per row; few enough that a batch takes milliseconds. */
const BATCH_ROWS_MAX = 200;
/** Of JSON; a statement of a few megabytes is still quick. One larger entry goes alone. */
const BATCH_CHARACTERS_MAX = 2 * 1024 * 1024;
/** Waiting entries: minutes of ordinary load while the database is away. */
const QUEUE_ENTRIES_MAX = 50_000;
/** Waiting JSON: bounds the memory when entries are large. */
const QUEUE_CHARACTERS_MAX = 64 * 1024 * 1024;
/** Of the room left, what a tenant may use with new messages; the rest of its share is for the turns under way. */
const NEW_MESSAGES_MULTIPLE = 1;
/** A batch that takes longer than this is a database that stalls. */
const STALLED_AFTER_MS = 500;
const RETRY_BACKOFF = { baseMs: 50, capMs: 2_000 };
/** What a caller is told to wait when the queue is full. */
const FULL_RETRY_AFTER_MS = 1_000;

/** Where batches go. */
export interface LogStore {
  /** The entry as the store wants it; called once, when it is appended. */
  encode(entry: LogEntry): string;
  /**
   * Writes the rows in one transaction, in order; rows that are already there are left alone. Rejects with
   * ParleyError: `unavailable` when it is worth trying again.
   */
  insert(rows: readonly string[], signal: AbortSignal): Promise<void>;
}

/** How the writer waits, and who hears of its trouble. */
export interface GroupCommitLogOptions {
  readonly store: LogStore;
  /** Monotonic, milliseconds. */
  readonly now: () => number;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  /** A batch failed and will be tried again, or (`lost`) an entry was refused for good. */
  readonly onFailure: (failure: { error: unknown; rows: number; lost: boolean }) => void;
  /** Default: {@link sleep}. */
  readonly sleep?: (delayMs: number, signal: AbortSignal) => Promise<void>;
}

interface WaitingEntry {
  readonly tenantId: string;
  readonly row: string;
  resolve(): void;
  reject(error: ParleyError): void;
}

/** {@link MessageLog} by group commit: one batch under way at a time. */
export class GroupCommitLog implements MessageLog {
  readonly #options: GroupCommitLogOptions;
  readonly #stop = new AbortController();
  #queue: WaitingEntry[] = [];
  readonly #entries = new TenantShares(QUEUE_ENTRIES_MAX);
  readonly #characters = new TenantShares(QUEUE_CHARACTERS_MAX);
  #writing: Promise<void> | undefined;
  #draining = false;
  /** The last try of a batch failed; no other has succeeded since. */
  #failing = false;
  /** When the insert under way began; undefined when there is none. */
  #insertingSinceMs: number | undefined;

  constructor(options: GroupCommitLogOptions) {
    this.#options = options;
  }

  state(): LogState {
    const isStalled =
      this.#insertingSinceMs !== undefined && this.#options.now() - this.#insertingSinceMs > STALLED_AFTER_MS;
    return this.#failing || isStalled ? "behind" : "ready";
  }

  hasRoom(tenantId: string): boolean {
    return [this.#entries, this.#characters].every((room) => room.hasRoom(tenantId, NEW_MESSAGES_MULTIPLE));
  }

  append(entry: LogEntry, signal?: AbortSignal): Promise<void> {
    if (this.#draining) return Promise.reject(closed());
    const { tenantId } = entry;
    const row = this.#options.store.encode(entry);
    if (
      !this.#entries.hasRoom(tenantId) ||
      !this.#characters.hasRoom(tenantId) ||
      this.#characters.total + row.length > QUEUE_CHARACTERS_MAX
    ) {
      return Promise.reject(full());
    }
    const written = new Promise<void>((resolve, reject) => {
      this.#queue.push({ tenantId, row, resolve, reject });
    });
    this.#entries.take(tenantId, 1);
    this.#characters.take(tenantId, row.length);
    this.#writing ??= this.#write();
    return abortable(written, signal);
  }

  /**
   * Takes no more entries and writes those that wait. When the signal aborts first, the rest is given up: their
   * appends reject with `unavailable`. Resolves with the number of entries given up.
   */
  async drain(signal: AbortSignal): Promise<number> {
    this.#draining = true;
    const giveUp = () => this.#stop.abort(closed());
    if (signal.aborted) giveUp();
    else signal.addEventListener("abort", giveUp, { once: true });
    try {
      await this.#writing;
    } finally {
      signal.removeEventListener("abort", giveUp);
    }
    const left = this.#queue.splice(0);
    for (const entry of left) entry.reject(closed());
    return left.length;
  }

  /** Writes until nothing waits, or the log is stopped; what could not be written is back in the queue. */
  async #write(): Promise<void> {
    // Entries appended in this same turn of the event loop belong to the first batch.
    await Promise.resolve();
    while (this.#queue.length > 0 && !this.#stop.signal.aborted) {
      const batch = this.#takeBatch();
      const written = await this.#writeBatch(batch);
      if (!written) this.#queue.unshift(...batch);
    }
    this.#writing = undefined;
  }

  #takeBatch(): WaitingEntry[] {
    let characters = 0;
    let rows = 0;
    for (const { tenantId, row } of this.#queue) {
      if (rows === BATCH_ROWS_MAX || (rows > 0 && characters + row.length > BATCH_CHARACTERS_MAX)) break;
      characters += row.length;
      rows++;
      this.#entries.release(tenantId, 1);
      this.#characters.release(tenantId, row.length);
    }
    return this.#queue.splice(0, rows);
  }

  /** Settles the batch's entries; false when the log was stopped before it could. */
  async #writeBatch(batch: WaitingEntry[]): Promise<boolean> {
    const { random, onFailure } = this.#options;
    const { signal } = this.#stop;
    for (let attempt = 1; !signal.aborted; attempt++) {
      try {
        await this.#insert(batch);
        for (const entry of batch) entry.resolve();
        return true;
      } catch (error) {
        if (signal.aborted) return false;
        const retryable = error instanceof ParleyError && error.code === "unavailable";
        if (!retryable) return this.#writeOneByOne(batch, error);
        this.#failing = true;
        onFailure({ error, rows: batch.length, lost: false });
        await this.#sleep(fullJitterMs(attempt, RETRY_BACKOFF, random)).catch(() => undefined);
      }
    }
    return false;
  }

  async #insert(batch: readonly WaitingEntry[]): Promise<void> {
    const { store, now } = this.#options;
    this.#insertingSinceMs = now();
    try {
      await store.insert(
        batch.map(({ row }) => row),
        this.#stop.signal,
      );
      this.#failing = false;
    } finally {
      this.#insertingSinceMs = undefined;
    }
  }

  /** One row that the database refuses must not take the others of its batch with it. */
  async #writeOneByOne(batch: WaitingEntry[], error: unknown): Promise<boolean> {
    const [only] = batch;
    if (only && batch.length === 1) {
      this.#options.onFailure({ error, rows: 1, lost: true });
      only.reject(
        error instanceof ParleyError
          ? error
          : new ParleyError("internal", "internal error", { cause: error }),
      );
      return true;
    }
    const unwritten: WaitingEntry[] = [];
    for (const entry of batch) {
      if (!(await this.#writeBatch([entry]))) unwritten.push(entry);
    }
    batch.splice(0, batch.length, ...unwritten);
    return unwritten.length === 0;
  }

  #sleep(delayMs: number): Promise<void> {
    return (this.#options.sleep ?? sleep)(delayMs, this.#stop.signal);
  }
}

function closed(): ParleyError {
  return new ParleyError("unavailable", "the message log is closed", { retryable: true });
}

function full(): ParleyError {
  return new ParleyError("resource_exhausted", "too many messages wait to be recorded", {
    reason: "log-full",
    retryable: true,
    retryAfterMs: FULL_RETRY_AFTER_MS,
  });
}
