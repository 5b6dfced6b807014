/**
 * The saved frames of a session as rows of SQLite. A frame that is longer than a row may be has the rest of it in
 * `frame_parts`. What is kept how long is not decided here.
 */
import type { SqlStorage } from "@cloudflare/workers-types";
import type { Frame } from "./frame.ts";
import { joinParts, mayHaveMore, partsOf } from "./row-parts.ts";

/** Frames looked at in one step when room is made. */
const STEP_FRAMES = 100;

/** See above. */
export class FrameRows {
  readonly #sql: SqlStorage;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
  }

  /** Adds a frame; returns its bytes. */
  add({ first, last, envelope, deltas }: Frame, savedAtMs: number): number {
    const body = JSON.stringify({ envelope, deltas });
    const bytes = new TextEncoder().encode(body).length;
    const [start, ...rest] = partsOf(body);
    this.#sql.exec("INSERT INTO frames VALUES (?, ?, ?, ?, ?)", last, first, start, bytes, savedAtMs);
    for (const [part, text] of rest.entries()) {
      this.#sql.exec("INSERT INTO frame_parts VALUES (?, ?, ?)", last, part, text);
    }
    return bytes;
  }

  /** The frames with events past a number, in order. */
  read(after: number, countMax: number): Frame[] {
    const rows = this.#sql.exec<{ first: number; last: number; body: string }>(
      "SELECT first, last, body FROM frames WHERE last > ? ORDER BY last LIMIT ?",
      after,
      countMax,
    );
    return rows.toArray().map(({ first, last, body }) => {
      const whole = mayHaveMore(body) ? body + this.#restOf(last) : body;
      return { first, last, ...JSON.parse(whole) } as Frame;
    });
  }

  /** The first number of the oldest frame; undefined when there is none. */
  first(): number | undefined {
    const row = this.#sql.exec<{ first: number | null }>("SELECT MIN(first) AS first FROM frames").one();
    return row.first ?? undefined;
  }

  /** Bytes of the frames up to a number. */
  bytesUpTo(last: number): number {
    const row = this.#sql.exec<{ bytes: number | null }>(
      "SELECT SUM(bytes) AS bytes FROM frames WHERE last <= ?",
      last,
    );
    return row.one().bytes ?? 0;
  }

  deleteUpTo(last: number): void {
    this.#sql.exec("DELETE FROM frames WHERE last <= ?", last);
    this.#sql.exec("DELETE FROM frame_parts WHERE last <= ?", last);
  }

  /** The number up to which the oldest frames have so many bytes, or as far as one step goes. */
  oldestWith(bytesWanted: number): number | undefined {
    const rows = this.#sql.exec<{ last: number; bytes: number }>(
      "SELECT last, bytes FROM frames ORDER BY last LIMIT ?",
      STEP_FRAMES,
    );
    let bytes = 0;
    let through: number | undefined;
    for (const row of rows) {
      bytes += row.bytes;
      through = row.last;
      if (bytes >= bytesWanted) break;
    }
    return through;
  }

  /** The number of the last frame that was saved before a moment, as far as one step goes. */
  lastBefore(savedBeforeMs: number): number | undefined {
    const oldest = this.#sql.exec<{ last: number; saved_at: number }>(
      "SELECT last, saved_at FROM frames ORDER BY last LIMIT ?",
      STEP_FRAMES,
    );
    return oldest.toArray().findLast(({ saved_at }) => saved_at < savedBeforeMs)?.last;
  }

  #restOf(last: number): string {
    const rows = this.#sql.exec<{ body: string }>(
      "SELECT body FROM frame_parts WHERE last = ? ORDER BY part",
      last,
    );
    return joinParts(rows);
  }
}
