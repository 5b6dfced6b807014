/**
 * The numbered frames of a session. Frames are sent first and saved in batches, and still an object that ends in
 * between gives no number twice and leaves none out. That rests on two rules:
 *
 * - Frames that are sent and not saved are always of one turn, the *owner*, and the owner is saved before the first of
 *   them. When another turn has an event, everything so far is saved first.
 * - An event of a turn has a number by its place alone: the n-th event of the owner past the saved ones has the saved
 *   number plus n, however the events were put into frames.
 *
 * So after an eviction the owner's events are asked for again from the saved position, and get the numbers that they
 * had. Until they have come, no other turn gets a number (`catch-up.ts`).
 */
import type { SqlStorage } from "@cloudflare/workers-types";
import type { Clock } from "../../core/resilience/deadline.ts";
import { eventCountOf, type Frame, type FrameBody } from "./frame.ts";
import { FrameRows } from "./frame-rows.ts";
import { BYTES_KEPT_MAX, EVENTS_KEPT_MAX, UNSAVED_EVENTS_MAX } from "./session-limits.ts";
import type { TurnSummary } from "./turn-store.ts";

/** When a bound is reached, so much of it is freed, lest every frame frees a little. */
const KEPT_SHARE = 0.9;

/** What a log touches. */
export interface FrameLogOptions {
  readonly sql: SqlStorage;
  readonly now: Clock;
  readonly frameAgeMs: number;
  /** Called in the same transaction as the saving: the owner's progress. */
  onSave(owner: string, frames: readonly Frame[]): void;
  /** The turns with events among some numbers. */
  tasksAmong(from: number, to: number): TurnSummary[];
}

/** See above. All methods are synchronous, so that nothing comes between what belongs together. */
export class FrameLog {
  readonly #options: FrameLogOptions;
  readonly #sql: SqlStorage;
  readonly #rows: FrameRows;
  #head: number;
  #savedHead: number;
  #owner: string | undefined;
  #unsaved: Frame[] = [];
  #keptBytes: number;
  #keptFrom: number;

  /** Goes on where what is saved ends. */
  constructor(options: FrameLogOptions) {
    this.#options = options;
    this.#sql = options.sql;
    this.#rows = new FrameRows(options.sql);
    const state = this.#sql.exec<{ head: number; log_owner: string | null }>(
      "SELECT head, log_owner FROM session",
    );
    const { head, log_owner } = state.one();
    this.#head = head;
    this.#savedHead = head;
    this.#owner = log_owner ?? undefined;
    this.#keptFrom = this.#rows.first() ?? head + 1;
    this.#keptBytes = this.#rows.bytesUpTo(head);
  }

  /** The last number that has been given. */
  get head(): number {
    return this.#head;
  }

  /** The turn that may have frames that were sent and are not saved. */
  get owner(): string | undefined {
    return this.#owner;
  }

  /** The first number that is kept; one past the head when none is. */
  get keptFrom(): number {
    return this.#keptFrom;
  }

  /** The highest number that a life of this object before an eviction can have given. */
  get seenAtMost(): number {
    return this.#owner === undefined
      ? this.#head
      : Math.max(this.#head, this.#savedHead + UNSAVED_EVENTS_MAX);
  }

  get hasUnsaved(): boolean {
    return this.#unsaved.length > 0;
  }

  /** Makes a turn the owner, or nobody. */
  own(turnId: string | undefined): void {
    if (turnId === this.#owner) return;
    this.save();
    this.#owner = turnId;
    this.#sql.exec("UPDATE session SET log_owner = ?", turnId ?? null);
  }

  /** Gives the next numbers to a frame of a turn. It is saved at the next {@link save}, or at once when it must be. */
  append(turnId: string, body: FrameBody): Frame {
    const unsavedEvents = this.#head - this.#savedHead + eventCountOf(body);
    if (unsavedEvents > UNSAVED_EVENTS_MAX) this.save();
    this.own(turnId);
    const frame = this.#number(body);
    // More than may be unsaved at all; it is saved before it is sent.
    if (eventCountOf(body) > UNSAVED_EVENTS_MAX) this.save();
    return frame;
  }

  /** The same for a frame that is of no turn and can be had from nowhere else: it is saved before it is sent. */
  appendSaved(body: FrameBody): Frame {
    this.own(undefined);
    const frame = this.#number(body);
    this.save();
    return frame;
  }

  /** Gives up the numbers up to `last`, which may have been seen and cannot be made again; the frame stands for them. */
  skip(last: number, { envelope }: FrameBody): Frame | undefined {
    if (last <= this.#head) return undefined;
    const frame = { first: this.#head + 1, last, envelope };
    this.#unsaved.push(frame);
    this.#head = last;
    this.save();
    return frame;
  }

  /** Writes what is not saved, in one transaction. */
  save(): void {
    const frames = this.#unsaved;
    if (frames.length === 0) return;
    this.#unsaved = [];
    const savedAtMs = this.#options.now();
    for (const frame of frames) this.#keptBytes += this.#rows.add(frame, savedAtMs);
    this.#savedHead = this.#head;
    this.#sql.exec("UPDATE session SET head = ?", this.#head);
    if (this.#owner !== undefined) this.#options.onSave(this.#owner, frames);
    this.#keepBounds(savedAtMs);
  }

  /**
   * The frames with events past a number, in order; at most `countMax`. Where some are kept no longer, the first one
   * stands for their numbers, and says so (`missed`).
   */
  read(after: number, countMax: number): Frame[] {
    if (after < this.#keptFrom - 1) return [this.#missedFrame(after + 1, this.#keptFrom - 1)];
    const saved = this.#rows.read(after, countMax);
    return saved.length === countMax
      ? saved
      : [...saved, ...this.#unsaved.filter(({ last }) => last > after)];
  }

  /** Drops the frames up to a number. */
  drop(through: number): void {
    if (through < this.#keptFrom) return;
    this.#keptBytes -= this.#rows.bytesUpTo(through);
    this.#rows.deleteUpTo(through);
    this.#keptFrom = this.#rows.first() ?? this.#savedHead + 1;
  }

  #missedFrame(from: number, to: number): Frame {
    const tasks = this.#options.tasksAmong(from, to);
    return { first: from, last: to, envelope: { metadata: { missed: { from, to, tasks } } } };
  }

  #number(body: FrameBody): Frame {
    const frame = { first: this.#head + 1, last: this.#head + eventCountOf(body), ...body };
    this.#head = frame.last;
    this.#unsaved.push(frame);
    return frame;
  }

  #keepBounds(nowMs: number): void {
    if (this.#head - this.#keptFrom >= EVENTS_KEPT_MAX) {
      this.drop(this.#head - EVENTS_KEPT_MAX * KEPT_SHARE);
    }
    while (this.#keptBytes > BYTES_KEPT_MAX) {
      const excessBytes = this.#keptBytes - BYTES_KEPT_MAX * KEPT_SHARE;
      const through = this.#rows.oldestWith(excessBytes);
      if (through === undefined) break;
      this.drop(through);
    }
    this.dropOlderThan(nowMs - this.#options.frameAgeMs);
  }

  /** Drops frames that were saved before a moment. */
  dropOlderThan(savedBeforeMs: number): void {
    const last = this.#rows.lastBefore(savedBeforeMs);
    if (last !== undefined) this.drop(last);
  }
}
