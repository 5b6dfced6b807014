/** What the writer of the log guarantees, whatever the store: batches, bounds, retries, a clean stop. */
import { describe, expect, it } from "vitest";
import { GroupCommitLog, type LogStore } from "../../../backend/stores/message-log.ts";
import { ParleyError } from "../../../core/errors/parley-error.ts";
import { logEntry } from "./message-log.contract.ts";

const unavailable = () => new ParleyError("unavailable", "no database", { retryable: true });

/** A store whose every insert ends when, and as, the test says. */
class ManualStore implements LogStore {
  readonly batches: string[][] = [];
  #ends: { resolve: () => void; reject: (error: unknown) => void }[] = [];

  encode({ messageId, content }: ReturnType<typeof logEntry>): string {
    return content === "large" ? messageId.padEnd(1024 * 1024, ".") : messageId;
  }

  insert(rows: readonly string[], signal: AbortSignal): Promise<void> {
    this.batches.push([...rows]);
    return new Promise((resolve, reject) => {
      this.#ends.push({ resolve, reject });
      signal.addEventListener("abort", () => reject(signal.reason), { once: true });
    });
  }

  /** Ends the insert under way; resolves when the writer has taken notice. */
  async end(error?: unknown): Promise<void> {
    const end = this.#ends.shift();
    if (error === undefined) end?.resolve();
    else end?.reject(error);
    await settle();
  }
}

/** Lets all that is ready to run, run. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
}

/** Whether an entry waits to be written; the store of these tests writes nothing until it is told to. */
async function isTaken(appended: Promise<void>): Promise<boolean> {
  const outcome = appended.then(
    () => true,
    () => false,
  );
  return Promise.race([outcome, Promise.resolve().then(() => true)]);
}

function newLog(store = new ManualStore()) {
  const failures: { rows: number; lost: boolean }[] = [];
  const delays: number[] = [];
  const clock = { nowMs: 0 };
  const log = new GroupCommitLog({
    store,
    now: () => clock.nowMs,
    random: () => 0.5,
    onFailure: ({ rows, lost }) => failures.push({ rows, lost }),
    sleep: async (delayMs) => {
      delays.push(delayMs);
    },
  });
  const append = (...ids: string[]) => ids.map((id) => log.append(logEntry(id)));
  return { log, store, append, failures, delays, clock };
}

describe("GroupCommitLog", () => {
  it("writes what is appended in one turn as one batch, and what comes meanwhile as the next", async () => {
    const { store, append } = newLog();
    append("a", "b");
    await settle();
    append("c");
    append("d");
    await settle();
    expect(store.batches).toEqual([["a", "b"]]);
    await store.end();
    expect(store.batches).toEqual([
      ["a", "b"],
      ["c", "d"],
    ]);
  });

  it("is one write behind and no more: nothing waits for a timer, or for a batch to fill", async () => {
    const { store, append, delays } = newLog();
    append("first");
    await settle();
    expect(store.batches).toEqual([["first"]]);
    for (let entry = 0; entry < 150; entry++) {
      append(`m-${entry}`);
      await store.end();
      // What came while one write was under way is on its way as soon as that has ended.
      expect(store.batches.at(-1)).toEqual([`m-${entry}`]);
    }
    expect(delays).toEqual([]);
  });

  it("resolves an append when its batch is written, not before", async () => {
    const { store, append } = newLog();
    let written = false;
    const [appended] = append("a");
    appended?.then(() => {
      written = true;
    });
    await settle();
    expect(written).toBe(false);
    await store.end();
    expect(written).toBe(true);
  });

  it("writes at most 200 rows at once", async () => {
    const { store, append } = newLog();
    append(...Array.from({ length: 450 }, (_, index) => `m-${index}`));
    for (let batch = 0; batch < 3; batch++) {
      await settle();
      await store.end();
    }
    expect(store.batches.map(({ length }) => length)).toEqual([200, 200, 50]);
  });

  it("writes at most 2 MiB at once, and a larger entry alone", async () => {
    const { log, store } = newLog();
    for (const id of ["a", "b", "c"]) log.append(logEntry(id, { content: "large" }));
    for (let batch = 0; batch < 2; batch++) {
      await settle();
      await store.end();
    }
    expect(store.batches.map(({ length }) => length)).toEqual([2, 1]);
  });

  it("refuses a tenant's entry over 37,500 waiting ones, and takes entries again when there is room", async () => {
    const { log, store, append } = newLog();
    append(...Array.from({ length: 37_500 }, (_, index) => `m-${index}`));
    await expect(log.append(logEntry("over"))).rejects.toMatchObject({
      code: "resource_exhausted",
      reason: "log-full",
      retryAfterMs: 1000,
    });
    await settle();
    const [appended] = append("again");
    for (let batch = 0; batch < 188; batch++) await store.end();
    await appended;
  });

  it("refuses a tenant's entry over 48 MiB of waiting ones", async () => {
    const { log } = newLog();
    const appended = Array.from({ length: 48 }, (_, id) =>
      log.append(logEntry(`${id}`, { content: "large" })),
    );
    await expect(log.append(logEntry("over", { content: "large" }))).rejects.toMatchObject({
      code: "resource_exhausted",
    });
    expect(appended).toHaveLength(48);
  });

  it("takes the messages and replies of a tenant while another one fills what it may", async () => {
    for (const entry of [{}, { content: "large" }]) {
      const { log } = newLog();
      const flood = () => log.append(logEntry(crypto.randomUUID(), { ...entry, tenantId: "flooding" }));
      while (await isTaken(flood()));
      expect(log.hasRoom("flooding")).toBe(false);
      expect(log.hasRoom("quiet")).toBe(true);
      expect(await isTaken(log.append(logEntry("m-1", { ...entry, tenantId: "quiet" })))).toBe(true);
      expect(log.hasRoom("quiet")).toBe(true);
    }
  });

  it("tries a batch again, with growing pauses, until the database is back", async () => {
    const { store, append, failures, delays } = newLog();
    const [appended] = append("a");
    await settle();
    for (let failure = 0; failure < 9; failure++) await store.end(unavailable());
    await store.end();
    await appended;
    expect(store.batches).toEqual(Array.from({ length: 10 }, () => ["a"]));
    expect(delays).toEqual([25, 50, 100, 200, 400, 800, 1000, 1000, 1000]);
    expect(failures).toEqual(Array.from({ length: 9 }, () => ({ rows: 1, lost: false })));
  });

  it("keeps the order when a batch had to be tried again", async () => {
    const { store, append } = newLog();
    append("a");
    await settle();
    append("b");
    await store.end(unavailable());
    await store.end();
    expect(store.batches).toEqual([["a"], ["a"], ["b"]]);
  });

  it("writes a refused batch row by row, and rejects only the rows that are refused by themselves", async () => {
    const { store, append, failures } = newLog();
    const refused = new ParleyError("internal", "refused");
    const [a, b, c] = append("a", "b", "c");
    const rejection = expect(b).rejects.toBe(refused);
    await settle();
    await store.end(refused);
    await store.end();
    await store.end(refused);
    await store.end();
    await Promise.all([a, rejection, c]);
    expect(store.batches).toEqual([["a", "b", "c"], ["a"], ["b"], ["c"]]);
    expect(failures).toEqual([{ rows: 1, lost: true }]);
  });

  it("ends a wait whose signal aborts, and writes the entry all the same", async () => {
    const { log, store } = newLog();
    const appended = log.append(logEntry("a"), AbortSignal.abort());
    await expect(appended).rejects.toMatchObject({ code: "canceled" });
    await settle();
    await store.end();
    expect(store.batches).toEqual([["a"]]);
  });

  it("writes all that waits before it has drained, and takes no more", async () => {
    const { log, store, append } = newLog();
    const appended = append("a", "b");
    await settle();
    const drained = log.drain(new AbortController().signal);
    await expect(log.append(logEntry("late"))).rejects.toMatchObject({ code: "unavailable" });
    await store.end();
    expect(await drained).toBe(0);
    await Promise.all(appended);
  });

  it("gives up, when draining takes too long, what is not written, and says how much", async () => {
    const { log, append } = newLog();
    const appended = [...append("a")];
    await settle();
    appended.push(...append("b", "c"));
    const stop = new AbortController();
    const drained = log.drain(stop.signal);
    stop.abort();
    expect(await drained).toBe(3);
    for (const each of appended) await expect(each).rejects.toMatchObject({ code: "unavailable" });
  });

  it("is behind from the first failure until a batch is written", async () => {
    const { log, store, append } = newLog();
    append("a");
    await settle();
    expect(log.state()).toBe("ready");
    await store.end(unavailable());
    expect(log.state()).toBe("behind");
    await store.end();
    expect(log.state()).toBe("ready");
  });

  it("is behind while a batch takes longer than half a second", async () => {
    const { log, store, append, clock } = newLog();
    append("a");
    await settle();
    clock.nowMs = 500;
    expect(log.state()).toBe("ready");
    clock.nowMs = 501;
    expect(log.state()).toBe("behind");
    await store.end();
    expect(log.state()).toBe("ready");
  });

  it("has no room for new messages at half its bounds, and goes on taking the entries of turns under way", async () => {
    const { log, append } = newLog();
    const { tenantId } = logEntry("any");
    append(...Array.from({ length: 24_999 }, (_, index) => `m-${index}`));
    expect(log.hasRoom(tenantId)).toBe(true);
    append("last");
    expect(log.hasRoom(tenantId)).toBe(false);
    expect(await isTaken(log.append(logEntry("reply")))).toBe(true);
    const large = newLog();
    for (let id = 0; id < 32; id++) large.log.append(logEntry(`${id}`, { content: "large" }));
    expect(large.log.hasRoom(tenantId)).toBe(false);
  });

  it("drains at once when nothing waits", async () => {
    expect(await newLog().log.drain(new AbortController().signal)).toBe(0);
  });
});
