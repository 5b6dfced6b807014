import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { startTimeLimit } from "../../../core/resilience/time-limit.ts";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

describe("a limit of time", () => {
  it("aborts as a timeout does, when the time is up", () => {
    const { signal } = startTimeLimit(50);
    vi.advanceTimersByTime(49);
    expect(signal.aborted).toBe(false);
    vi.advanceTimersByTime(1);
    expect(signal.reason).toMatchObject({ name: "TimeoutError", message: "it took longer than 50 ms" });
  });

  it("that is called off aborts nothing, and leaves no timer", () => {
    const { signal, clear } = startTimeLimit(50);
    clear();
    expect(vi.getTimerCount()).toBe(0);
    vi.advanceTimersByTime(100);
    expect(signal.aborted).toBe(false);
  });
});
