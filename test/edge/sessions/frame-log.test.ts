/** What a session keeps of its frames: numbers that never repeat, bounds that are said, and frames longer than a row. */
import { describe, expect, it } from "vitest";
import type { Frame } from "../../../edge/sessions/frame.ts";
import { FrameLog } from "../../../edge/sessions/frame-log.ts";
import {
  BYTES_KEPT_MAX,
  EVENTS_KEPT_MAX,
  ROW_CHARACTERS_MAX,
  UNSAVED_EVENTS_MAX,
} from "../../../edge/sessions/session-limits.ts";
import { createSessionTables } from "../../../edge/sessions/session-schema.ts";
import { nodeSqlStorage } from "../../support/node-sql-storage.ts";

const DAY_MS = 24 * 3_600_000;
/** In one frame. */
const EVENTS = 100;
const TASK = { messageId: "m-1", taskId: "t-1", contextId: "c-1", ended: false };

/** A log, and the log that an object has after an eviction. */
function newLog() {
  const sql = nodeSqlStorage();
  createSessionTables(sql);
  sql.exec("INSERT INTO session (session_id, owner, seen_at) VALUES (?, ?, ?)", "s", "{}", 0);
  const clock = { nowMs: 0 };
  const saved: [string, number[]][] = [];
  const open = () =>
    new FrameLog({
      sql,
      now: () => clock.nowMs,
      frameAgeMs: DAY_MS,
      onSave: (owner, frames) => saved.push([owner, frames.map(({ last }) => last)]),
      tasksAmong: () => [TASK],
    });
  return { log: open(), reopen: open, clock, saved, sql };
}

const event = (text: string) => ({ envelope: { text } });
const numbers = (frames: readonly Frame[]) => frames.map(({ first, last }) => [first, last]);

describe("the log of frames", () => {
  it("gives the events of a turn numbers by their place alone, however they are put into frames", () => {
    const { log } = newLog();
    expect(log.append("a", event("1"))).toMatchObject({ first: 1, last: 1 });
    expect(log.append("a", { envelope: {}, deltas: ["x", "y", "z"] })).toMatchObject({ first: 2, last: 4 });
    expect(log.append("a", event("5"))).toMatchObject({ first: 5, last: 5 });
  });

  it("saves the frames of a turn before another turn gets a number", () => {
    const { log, saved } = newLog();
    log.append("a", event("1"));
    expect(log.hasUnsaved).toBe(true);
    log.append("b", event("2"));
    expect(saved).toEqual([["a", [1]]]);
    expect(log.owner).toBe("b");
  });

  it("after an eviction goes on from what is saved, and knows how far it may have been", () => {
    const { log, reopen } = newLog();
    log.append("a", event("1"));
    log.save();
    log.append("a", event("2"));
    const again = reopen();
    expect(again.head).toBe(1);
    expect(again.owner).toBe("a");
    expect(again.seenAtMost).toBe(1 + UNSAVED_EVENTS_MAX);
    expect(again.append("a", event("2"))).toMatchObject({ first: 2, last: 2 });
  });

  it("never has more unsaved events than it says, not even in one frame", () => {
    const { log } = newLog();
    for (let count = 0; count < UNSAVED_EVENTS_MAX; count++) log.append("a", event("x"));
    expect(log.hasUnsaved).toBe(true);
    log.append("a", event("x"));
    expect(log.read(0, 1_000)).toHaveLength(UNSAVED_EVENTS_MAX + 1);
    log.append("a", { envelope: {}, deltas: Array(UNSAVED_EVENTS_MAX + 1).fill("x") });
    expect(log.hasUnsaved).toBe(false);
  });

  it("reads saved and unsaved frames in order, a page at a time", () => {
    const { log } = newLog();
    for (const text of ["1", "2", "3"]) log.append("a", event(text));
    log.save();
    log.append("a", event("4"));
    expect(numbers(log.read(1, 2))).toEqual([
      [2, 2],
      [3, 3],
    ]);
    expect(numbers(log.read(2, 100))).toEqual([
      [3, 3],
      [4, 4],
    ]);
    expect(log.read(4, 100)).toEqual([]);
  });

  it.each([
    ["at the length of a row", ROW_CHARACTERS_MAX],
    ["of several rows", 3 * ROW_CHARACTERS_MAX + 17],
  ])("keeps a frame %s whole, pairs of surrogates too", (_, length) => {
    const { log, reopen, sql } = newLog();
    for (const shift of ["", "x"]) {
      const text = shift + "😀".repeat(length / 2);
      log.append("a", event(text));
      log.save();
      expect(reopen().read(log.head - 1, 1)[0]?.envelope).toEqual({ text });
    }
    const rows = sql.exec<{ longest: number }>(
      "SELECT MAX(LENGTH(CAST(body AS BLOB))) AS longest FROM (SELECT body FROM frames UNION ALL SELECT body FROM frame_parts)",
    );
    expect(rows.one().longest).toBeLessThan(2_000_000);
    log.drop(log.head);
    expect(sql.exec("SELECT * FROM frame_parts").toArray()).toEqual([]);
  });

  it("keeps the newest frames up to its bound of bytes, and one that stands for those before", () => {
    const { log } = newLog();
    const text = "あ".repeat(100_000);
    for (let count = 0; count < 40; count++) {
      log.append("a", event(text));
      log.save();
    }
    const { keptFrom, head } = log;
    const kept = log.read(keptFrom - 1, 100);
    expect(kept.length * 300_000).toBeLessThanOrEqual(BYTES_KEPT_MAX);
    expect(kept.length * 300_000).toBeGreaterThan(BYTES_KEPT_MAX * 0.8);
    expect(kept.at(-1)?.last).toBe(head);
    expect(log.read(5, 100)).toEqual([
      {
        first: 6,
        last: keptFrom - 1,
        envelope: { metadata: { missed: { from: 6, to: keptFrom - 1, tasks: [TASK] } } },
      },
    ]);
  });

  it("says that an event larger than all that is kept is missed, and goes on", () => {
    const { log } = newLog();
    log.append("a", event("before"));
    log.append("a", event("x".repeat(BYTES_KEPT_MAX)));
    log.save();
    expect(log.keptFrom).toBe(3);
    expect(log.read(0, 100)).toMatchObject([{ first: 1, last: 2, envelope: { metadata: { missed: {} } } }]);
    log.append("a", event("after"));
    expect(numbers(log.read(2, 100))).toEqual([[3, 3]]);
  });

  it("keeps no more events than its bound, and none that is too old", () => {
    const { log, clock } = newLog();
    for (let count = 0; count * EVENTS < EVENTS_KEPT_MAX + EVENTS; count++) {
      log.append("a", { envelope: {}, deltas: Array(EVENTS).fill("x") });
    }
    log.save();
    expect(log.head - log.keptFrom).toBeLessThan(EVENTS_KEPT_MAX);
    expect(log.head - log.keptFrom).toBeGreaterThan(EVENTS_KEPT_MAX * 0.8);
    clock.nowMs = DAY_MS + 1;
    const before = log.keptFrom;
    log.dropOlderThan(clock.nowMs - DAY_MS);
    expect(log.keptFrom).toBeGreaterThan(before);
  });

  it("gives up numbers that cannot be made again by one frame for all of them", () => {
    const { log } = newLog();
    log.append("a", event("1"));
    expect(log.skip(9, event("lost"))).toMatchObject({ first: 2, last: 9 });
    expect(log.head).toBe(9);
    expect(log.skip(9, event("lost"))).toBeUndefined();
  });
});
