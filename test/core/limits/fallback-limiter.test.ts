import { beforeEach, describe, expect, it } from "vitest";
import { decided } from "../../../core/limits/counter.ts";
import {
  DECISION_TIMEOUT_MS,
  FAILURES_MAX,
  FallbackLimiter,
  type LimiterEvent,
  PROBE_INTERVAL_MS,
  type ProbedLimiter,
} from "../../../core/limits/fallback-limiter.ts";
import { MemoryLimiter } from "../../../core/limits/memory-limiter.ts";
import { callOn } from "./limiter.contract.ts";

const ADMITTED = { admitted: true, remaining: 1, resetMs: 1, retryAfterMs: 0 };

/** What the first limiter does, and what was asked of it. */
let behaviour: "works" | "fails" | "hangs";
let asked: string[];
let nowMs: number;
let events: LimiterEvent[];
let background: Promise<unknown>[];
let limiter: FallbackLimiter;

beforeEach(() => {
  behaviour = "works";
  asked = [];
  nowMs = 0;
  events = [];
  background = [];
  const act = async (what: string) => {
    asked.push(what);
    if (behaviour === "fails") throw new Error("refused");
    if (behaviour === "hangs") await new Promise(() => {});
    return decided(ADMITTED, "upstash");
  };
  const first: ProbedLimiter = {
    name: "upstash",
    takeRequest: () => act("request"),
    reserveTokens: () => act("reserve"),
    settleTokens: async () => void (await act("settle")),
    probe: () => act("probe"),
  };
  const now = () => nowMs;
  const onEvent = (event: LimiterEvent) => events.push(event);
  limiter = new FallbackLimiter({ first, second: new MemoryLimiter(now), now, onEvent });
});

async function decide() {
  const call = { ...callOn(100), inBackground: (work: Promise<unknown>) => void background.push(work) };
  const { decidedBy } = await limiter.takeRequest(call);
  return decidedBy;
}

describe("a limiter with a substitute", () => {
  it("lets the first decide while it works", async () => {
    expect(await decide()).toBe("upstash");
    expect(events).toEqual([]);
  });

  it("lets the substitute decide when the first fails, and asks the first no more after some failures", async () => {
    behaviour = "fails";
    for (let i = 0; i < FAILURES_MAX + 5; i++) expect(await decide()).toBe("memory");
    expect(asked).toHaveLength(FAILURES_MAX);
    expect(events).toMatchObject([{ limiter: "upstash", state: "failing" }]);
  });

  it("waits for a decision so long and no longer", async () => {
    behaviour = "hangs";
    const startedAtMs = performance.now();
    expect(await decide()).toBe("memory");
    expect(performance.now() - startedAtMs).toBeLessThan(DECISION_TIMEOUT_MS + 300);
  });

  it("probes beside a decision, one at a time, and goes back when the first works again", async () => {
    behaviour = "fails";
    for (let i = 0; i < FAILURES_MAX; i++) await decide();
    nowMs = PROBE_INTERVAL_MS - 1;
    await decide();
    expect(asked).not.toContain("probe");
    nowMs = PROBE_INTERVAL_MS;
    expect([await decide(), await decide()]).toEqual(["memory", "memory"]);
    await Promise.all(background);
    expect(asked.filter((what) => what === "probe")).toHaveLength(1);
    expect(await decide()).toBe("memory");

    behaviour = "works";
    nowMs = 2 * PROBE_INTERVAL_MS;
    expect(await decide()).toBe("memory");
    await Promise.all(background);
    expect(await decide()).toBe("upstash");
    expect(events.map(({ state }) => state)).toEqual(["failing", "recovered"]);
  });

  it("settles where it reserved; a settlement that is lost is told and harms nobody", async () => {
    await limiter.settleTokens(callOn(100), -10, "memory");
    expect(asked).toEqual([]);
    behaviour = "fails";
    await limiter.settleTokens(callOn(100), -10, "upstash");
    expect(asked).toEqual(["settle"]);
    expect(events).toMatchObject([{ state: "settlement-lost" }]);
  });
});
