import { beforeEach, describe, expect, it } from "vitest";
import { LeasingLimiter, PORTION_MS } from "../../../core/limits/leasing-limiter.ts";
import type { Limiter, LimiterCall } from "../../../core/limits/limiter.ts";
import { MemoryLimiter } from "../../../core/limits/memory-limiter.ts";
import { describeLimiter } from "./limiter.contract.ts";

const leasing = new LeasingLimiter(new MemoryLimiter(Date.now), Date.now);
describeLimiter("that leases portions", () => leasing);

/** One percent of it is a portion of 1,000. */
const LIMIT = 100_000;
const NOW_MS = 1_800_000_000_000;

let nowMs: number;
let asked: string[];
let background: Promise<unknown>[];
let memory: MemoryLimiter;
let limiter: LeasingLimiter;

beforeEach(() => {
  nowMs = NOW_MS;
  asked = [];
  background = [];
  memory = new MemoryLimiter(() => nowMs);
  limiter = new LeasingLimiter(noting(memory), () => nowMs);
});

/** Notes what is asked where the counts are. */
function noting(inner: Limiter): Limiter {
  return {
    takeRequest: (call) => inner.takeRequest(call),
    reserveTokens(call, tokens) {
      asked.push(`reserve ${tokens}`);
      return inner.reserveTokens(call, tokens);
    },
    settleTokens(call, difference, decidedBy) {
      asked.push(`settle ${difference}`);
      return inner.settleTokens(call, difference, decidedBy);
    },
  };
}

function call(limit = LIMIT): LimiterCall {
  return { counter: "tenant/a", limit, inBackground: (work) => background.push(work) };
}

/** What the budget itself has left, by a reservation of nothing. */
async function leftInBudget(limit = LIMIT): Promise<number> {
  return (await memory.reserveTokens(call(limit), 0)).remaining;
}

describe("a limiter that leases portions", () => {
  it("asks once for many messages, and settles them from its portion", async () => {
    for (let message = 0; message < 10; message++) {
      const { decidedBy } = await limiter.reserveTokens(call(), 300);
      await limiter.settleTokens(call(), -200, decidedBy);
    }
    expect(asked).toEqual(["reserve 1300"]);
  });

  it("says what is left of the budget and of the portion together", async () => {
    expect(await limiter.reserveTokens(call(), 300)).toMatchObject({ remaining: LIMIT - 300 });
    const { decidedBy } = await limiter.reserveTokens(call(), 300);
    await limiter.settleTokens(call(), 50, decidedBy);
    expect(await limiter.reserveTokens(call(), 100)).toMatchObject({ remaining: LIMIT - 750 });
  });

  it("admits no more than the budget holds, of any number of callers on several processes", async () => {
    const processes = [
      limiter,
      new LeasingLimiter(memory, () => nowMs),
      new LeasingLimiter(memory, () => nowMs),
    ];
    let admitted = 0;
    for (let message = 0; message < 3_000; message++) {
      const process = processes[message % processes.length] ?? limiter;
      if ((await process.reserveTokens(call(), 100)).admitted) admitted += 1;
    }
    expect(admitted * 100).toBeLessThanOrEqual(LIMIT);
    expect(admitted * 100).toBeGreaterThan(LIMIT - 100);
  });

  it("takes no portion of a budget that is half used up", async () => {
    await memory.reserveTokens(call(), LIMIT / 2);
    expect(await limiter.reserveTokens(call(), 300)).toMatchObject({ remaining: LIMIT / 2 - 300 });
    await Promise.all(background);
    expect(await leftInBudget()).toBe(LIMIT / 2 - 300);
  });

  it("takes no portion that is too small for two messages", async () => {
    await limiter.reserveTokens(call(1_000), 300);
    expect(asked).toEqual(["reserve 300"]);
  });

  it("refuses what the budget does not hold, and takes nothing for it", async () => {
    await memory.reserveTokens(call(), LIMIT - 200);
    expect(await limiter.reserveTokens(call(), 300)).toMatchObject({ admitted: false });
    expect(await leftInBudget()).toBe(200);
  });

  it("gives a portion back that was not used in time", async () => {
    await limiter.reserveTokens(call(), 300);
    expect(await leftInBudget()).toBe(LIMIT - 1_300);
    nowMs += PORTION_MS;
    await limiter.reserveTokens(call(), 500);
    await Promise.all(background);
    expect(asked).toEqual(["reserve 1300", "settle -1000", "reserve 1500"]);
  });

  it("lets a changed limit hold at once", async () => {
    await limiter.reserveTokens(call(), 300);
    expect(await limiter.reserveTokens(call(200), 300)).toMatchObject({ admitted: false });
  });

  it("asks for one portion at a time, however many messages come at once", async () => {
    await Promise.all(Array.from({ length: 20 }, () => limiter.reserveTokens(call(), 300)));
    expect(asked.filter((question) => question === "reserve 1300")).toHaveLength(1);
  });

  it("charges a debt where the counts are", async () => {
    const { decidedBy } = await limiter.reserveTokens(call(), 300);
    await limiter.settleTokens(call(), 5_000, decidedBy);
    expect(asked).toContain("settle 5000");
  });

  it("returns to the budget what refunds bring beyond a portion", async () => {
    await limiter.reserveTokens(call(), 400);
    const { decidedBy } = await limiter.reserveTokens(call(), 400);
    for (let refund = 0; refund < 4; refund++) await limiter.settleTokens(call(), -400, decidedBy);
    expect(asked).toEqual(["reserve 1400", "settle -200"]);
  });
});
