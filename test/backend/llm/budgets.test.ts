import { describe, expect, it } from "vitest";
import { HEDGED_SHARE_MAX, HedgeBudget } from "../../../backend/llm/hedge-budget.ts";
import { RetryBudget } from "../../../backend/llm/retry-budget.ts";

describe("the budget of retries (gRFC A6)", () => {
  it("allows them while more than half of ten tokens is left", () => {
    const budget = new RetryBudget();
    const allowed = Array.from({ length: 6 }, () => {
      budget.failed();
      return budget.allowsRetry;
    });
    expect(allowed).toEqual([true, true, true, true, false, false]);
  });

  it("comes back by a tenth per success, never beyond full, and never falls below empty", () => {
    const budget = new RetryBudget();
    for (let call = 0; call < 1_000; call += 1) budget.failed();
    for (let call = 0; call < 49; call += 1) budget.succeeded();
    expect(budget.allowsRetry).toBe(false);
    for (let call = 0; call < 3; call += 1) budget.succeeded();
    expect(budget.allowsRetry).toBe(true);
    for (let call = 0; call < 1_000; call += 1) budget.succeeded();
    for (let call = 0; call < 5; call += 1) budget.failed();
    expect(budget.allowsRetry).toBe(false);
  });
});

describe("the budget of second calls", () => {
  it("is one from the beginning, then the named share of requests", () => {
    const budget = new HedgeBudget();
    let hedges = 0;
    for (let request = 0; request < 1_000; request += 1) {
      budget.earn();
      if (budget.take()) hedges += 1;
    }
    expect(hedges).toBeGreaterThan(1_000 * HEDGED_SHARE_MAX - 1);
    expect(hedges).toBeLessThanOrEqual(1 + 1_000 * HEDGED_SHARE_MAX);
  });

  it("is saved up to ten", () => {
    const budget = new HedgeBudget();
    for (let request = 0; request < 10_000; request += 1) budget.earn();
    expect(Array.from({ length: 20 }, () => budget.take()).filter(Boolean)).toHaveLength(10);
  });
});
