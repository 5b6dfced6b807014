/** Deadlines and backoff. */
import { describe, expect, it } from "vitest";
import { Deadline } from "../../../core/resilience/deadline.ts";
import { fullJitterMs, sleep } from "../../../core/resilience/full-jitter.ts";

describe("Deadline", () => {
  it("counts down to nothing and then throws", () => {
    let now = 0;
    const deadline = Deadline.after(100, () => now);
    now = 40;
    expect(deadline.remainingMsOrThrow()).toBe(60);
    now = 140;
    expect(deadline.remainingMs()).toBe(0);
    expect(() => deadline.remainingMsOrThrow()).toThrow(/time limit/);
  });
});

describe("full jitter", () => {
  const backoff = { baseMs: 100, capMs: 1_000 };

  it("draws from nothing to the doubled base, up to the cap", () => {
    const most = [1, 2, 3, 4, 5, 50].map((attempt) => fullJitterMs(attempt, backoff, () => 1));
    expect(most).toEqual([100, 200, 400, 800, 1_000, 1_000]);
    expect(fullJitterMs(5, backoff, () => 0)).toBe(0);
  });

  it("never waits less than the other side asked for", () => {
    expect(fullJitterMs(1, backoff, () => 0, 2_000)).toBe(2_000);
  });
});

describe("sleep", () => {
  it("ends at once with the signal's reason", async () => {
    const controller = new AbortController();
    const sleeping = sleep(60_000, controller.signal);
    controller.abort(new Error("enough"));
    await expect(sleeping).rejects.toThrow("enough");
    await expect(sleep(60_000, controller.signal)).rejects.toThrow("enough");
  });
});
