import { describe, expect, it } from "vitest";
import { takeRequest, type WindowState } from "../../../core/limits/sliding-window.ts";
import { type BucketState, reserveTokens, settleTokens } from "../../../core/limits/token-bucket.ts";

const MINUTE_MS = 60_000;

/** Counts requests at one moment until one is refused, 1,000 at most. */
function admittedAt(nowMs: number, limit: number, before?: WindowState) {
  let state = before;
  for (let admitted = 0; admitted < 1_000; admitted++) {
    const outcome = takeRequest(state, limit, nowMs);
    state = outcome.state;
    if (!outcome.admitted) return { admitted, state, retryAfterMs: outcome.retryAfterMs };
  }
  throw new Error("nothing was refused");
}

describe("a sliding window", () => {
  it("admits exactly its limit at once, and says what is left", () => {
    expect(takeRequest(undefined, 10, 0)).toMatchObject({ admitted: true, remaining: 9, resetMs: MINUTE_MS });
    expect(admittedAt(0, 10).admitted).toBe(10);
  });

  it("does not let a burst at the end of a minute be followed by another at the start of the next", () => {
    const end = admittedAt(MINUTE_MS - 1, 10);
    expect(admittedAt(MINUTE_MS + 1, 10, end.state).admitted).toBeLessThanOrEqual(1);
    expect(admittedAt(MINUTE_MS + MINUTE_MS / 2, 10, end.state).admitted).toBe(5);
    expect(admittedAt(3 * MINUTE_MS, 10, end.state).admitted).toBe(10);
  });

  it("does not count what it refuses", () => {
    const { state } = admittedAt(0, 10);
    expect(takeRequest(state, 10, 0).state).toEqual(state);
  });

  it.each([1, 7, 10, 600])(
    "names a time after which a request is admitted (limit %i), not much later",
    (limit) => {
      for (const atMs of [0, 1, 20_000, MINUTE_MS - 1]) {
        const { state, retryAfterMs } = admittedAt(atMs, limit);
        expect(takeRequest(state, limit, atMs + retryAfterMs + 1).admitted).toBe(true);
        expect(takeRequest(state, limit, atMs + retryAfterMs - 200).admitted).toBe(false);
      }
    },
  );

  it("takes a lower limit at once, and lives with a clock that goes back", () => {
    const { state } = admittedAt(MINUTE_MS, 10);
    expect(takeRequest(state, 5, MINUTE_MS).admitted).toBe(false);
    expect(takeRequest(state, 11, MINUTE_MS - 5_000).admitted).toBe(true);
  });
});

describe("a token bucket", () => {
  const full: BucketState = { tokens: 1_000, atMs: 0 };

  it("gives what it holds and no more; a refusal costs nothing", () => {
    const first = reserveTokens(undefined, 1_000, 600, 0);
    expect(first).toMatchObject({ admitted: true, remaining: 400 });
    const second = reserveTokens(first.state, 1_000, 600, 0);
    expect(second).toMatchObject({ admitted: false, remaining: 400, retryAfterMs: 12_000 });
    expect(reserveTokens(second.state, 1_000, 400, 0).admitted).toBe(true);
    expect(reserveTokens(second.state, 1_000, 600, 12_000).admitted).toBe(true);
  });

  it("refills evenly, and not beyond its size", () => {
    const empty = { tokens: 0, atMs: 0 };
    expect(reserveTokens(empty, 1_000, 500, 30_000).admitted).toBe(true);
    expect(reserveTokens(empty, 1_000, 501, 30_000).admitted).toBe(false);
    expect(reserveTokens(empty, 1_000, 1_001, 3_600_000).admitted).toBe(false);
  });

  it("takes back what was not used, up to its size", () => {
    expect(settleTokens({ tokens: 400, atMs: 0 }, 1_000, -500, 0).tokens).toBe(900);
    expect(settleTokens(full, 1_000, -500, 0).tokens).toBe(1_000);
  });

  it("goes into debt for what was used beyond the reservation, and refuses until it is paid", () => {
    const inDebt = settleTokens({ tokens: 100, atMs: 0 }, 1_000, 600, 0);
    expect(inDebt.tokens).toBe(-500);
    expect(reserveTokens(inDebt, 1_000, 1, 29_000)).toMatchObject({ admitted: false, remaining: 0 });
    expect(reserveTokens(inDebt, 1_000, 1, 30_100).admitted).toBe(true);
  });

  it("takes a lower limit at once, and does not refill for a clock that goes back", () => {
    expect(reserveTokens(full, 10, 11, 0).admitted).toBe(false);
    expect(reserveTokens({ tokens: 0, atMs: 60_000 }, 1_000, 1, 0).admitted).toBe(false);
  });
});
