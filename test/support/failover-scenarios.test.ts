/** The judge of the scenarios, which must be able to find fault. */
import { describe, expect, it } from "vitest";
import { CANONICAL_TEXT } from "./double-answer.ts";
import { BENCH_TIMES, failoverScenarios, judge, type ObservedReply } from "./failover-scenarios.ts";

const scenarios = new Map(failoverScenarios(BENCH_TIMES).map((scenario) => [scenario.id, scenario]));

function judged(
  id: string,
  reply: Partial<ObservedReply>,
  attemptsMs: number[] = [0],
  fallbackMs: number[] = [],
) {
  const scenario = scenarios.get(id);
  if (!scenario) throw new Error(`there is no scenario ${id}`);
  const attempts = [
    ...attemptsMs.map((atMs) => ({ model: scenario.primary, atMs })),
    ...fallbackMs.map((atMs) => ({ model: scenario.fallback, atMs })),
  ];
  const replies = [{ startedAtMs: 0, endedAtMs: 1_000, ...reply }];
  return judge(scenario, { attempts, replies, aliveAfterwards: true }).verdict;
}

const whole = { text: CANONICAL_TEXT };
const failed = { error: { code: "unavailable" } };

describe("the judge of the failover scenarios", () => {
  it("knows sixteen, each with names of models of its own", () => {
    expect([...scenarios.keys()]).toEqual(
      Array.from({ length: 16 }, (_, index) => `S${String(index + 1).padStart(2, "0")}`),
    );
    const names = [...scenarios.values()].flatMap(({ primary, fallback }) => [primary, fallback]);
    expect(new Set(names).size).toBe(32);
  });

  it.each([
    ["a whole answer", "S08", whole, "pass"],
    ["a clean error where an answer was possible", "S08", failed, "safe"],
    ["a truncated answer as a success", "S08", { text: CANONICAL_TEXT.slice(0, 99) }, "fail"],
    ["a reply that never ended", "S08", {}, "fail"],
    ["a reply that took too long", "S09", { ...whole, endedAtMs: 45_001 }, "fail"],
    ["an error without the provider's reason", "S13", failed, "partial"],
    ["an error with it", "S13", { error: { code: "x", detail: "content_policy_violation" } }, "pass"],
    ["a reply that does not name the fallback", "S16", { ...whole, model: "x", outputTokens: 60 }, "fail"],
  ] as const)("takes %s for what it is", (_, id, reply, verdict) => {
    expect(judged(id, reply)).toBe(verdict);
  });

  it("counts and times attempts", () => {
    expect(judged("S01", whole, [0, 1_900])).toBe("pass");
    expect(judged("S01", whole, [0, 1_700])).toBe("partial");
    expect(judged("S01", whole, [0, 500, 1_000])).toBe("fail");
    expect(judged("S12", whole, [0, 500])).toBe("fail");
    expect(judged("S07", whole, [0], [14_999])).toBe("pass");
    expect(judged("S07", whole, [0], [20_000])).toBe("partial");
    expect(judged("S10", whole, [0], [1])).toBe("partial");
  });
});
