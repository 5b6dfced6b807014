/** How often a program is started again. */
import { describe, expect, it } from "vitest";
import { RESTART_WINDOW_MS, RESTARTS_MAX, RestartBudget } from "../../scripts/restart-budget.ts";

describe("RestartBudget", () => {
  it("waits longer each time, and refuses one too many within the window", () => {
    const budget = new RestartBudget();
    const delays = Array.from({ length: RESTARTS_MAX + 1 }, (_, i) => budget.take(i * 1000));
    expect(delays).toEqual([100, 200, 400, 800, 1600, undefined]);
  });

  it("forgets restarts that are older than the window", () => {
    const budget = new RestartBudget();
    for (let i = 0; i < RESTARTS_MAX; i++) budget.take(0);
    expect(budget.take(RESTART_WINDOW_MS - 1)).toBe(undefined);
    expect(budget.take(RESTART_WINDOW_MS)).toBe(100);
  });
});
