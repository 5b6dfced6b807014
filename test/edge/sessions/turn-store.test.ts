import type { SqlStorage } from "@cloudflare/workers-types";
import { beforeEach, describe, expect, it } from "vitest";
import { TURNS_KEPT_MAX } from "../../../edge/sessions/session-limits.ts";
import { createSessionTables } from "../../../edge/sessions/session-schema.ts";
import { type TurnRecord, TurnStore } from "../../../edge/sessions/turn-store.ts";
import { nodeSqlStorage } from "../../support/node-sql-storage.ts";

let sql: SqlStorage;
let store: TurnStore;

beforeEach(() => {
  sql = nodeSqlStorage();
  createSessionTables(sql);
  store = new TurnStore(sql);
});

function turn(messageId: string, fields: Partial<TurnRecord> = {}): TurnRecord {
  return {
    ...{ messageId, contextId: "c", taskId: "", taskSequence: 0, startedAtMs: 1 },
    ...{ message: "{}", requestId: "r", traceparent: "t", deadlineAtMs: 9 },
    ...fields,
  };
}

const countOf = (table: string) => sql.exec(`SELECT 1 FROM ${table}`).toArray().length;

describe("the turns of a session", () => {
  it("are taken up again with their messages whole, however long those are", () => {
    const message = '"\\"'.repeat(1_000_000);
    store.add(turn("long", { message }), "f");
    store.add(turn("short"), "f");
    expect(new TurnStore(sql).underWay()).toEqual([turn("long", { message }), turn("short")]);
    const longest = sql.exec<{ bytes: number }>(
      "SELECT MAX(LENGTH(CAST(body AS BLOB))) AS bytes FROM turn_parts",
    );
    expect(longest.one().bytes).toBeLessThan(2_000_000);
  });

  it("of an earlier release are taken up too", () => {
    store.add(turn("old"), "f");
    sql.exec("DELETE FROM turn_parts");
    const { message, requestId, traceparent, deadlineAtMs } = turn("old", { message: '{"text":"hi"}' });
    const request = JSON.stringify({ message, requestId, traceparent, deadlineAtMs });
    sql.exec("UPDATE turns SET request = ?", request);
    expect(store.underWay()).toEqual([turn("old", { message: '{"text":"hi"}' })]);
  });

  it("keep nothing of what they were asked when they have ended", () => {
    store.add(turn("m"), "f");
    store.end("m");
    expect(store.underWay()).toEqual([]);
    expect(countOf("turn_parts")).toBe(0);
    expect(store.find("m")).toMatchObject({ ended: true, fingerprint: "f" });
  });

  it("are remembered up to a bound, those that a peer answers too, and never forgotten while under way", () => {
    store.add(turn("under way"), "f");
    for (let count = 0; count < TURNS_KEPT_MAX + 10; count++) {
      store.addTold({ messageId: `told-${count}`, contextId: "c", startedAtMs: 2 + count }, "f");
    }
    expect(countOf("turns")).toBe(TURNS_KEPT_MAX + 1);
    expect(store.find("told-0")).toBeUndefined();
    expect(store.underWay()).toHaveLength(1);
  });
});
