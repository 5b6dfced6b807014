import { beforeEach, describe, expect, it } from "vitest";
import {
  type CallPermit,
  CircuitBreaker,
  type CircuitFailure,
  FAILURES_IN_A_ROW_MAX,
  LAST_RESORT_INTERVAL_MS,
  OPEN_MS_MAX,
  PAUSE_MS_MAX,
} from "../../../backend/llm/circuit-breaker.ts";

let nowMs = 0;
let random = 0;
let changes: string[] = [];
let breaker: CircuitBreaker;

beforeEach(() => {
  nowMs = 1_000_000;
  random = 0;
  changes = [];
  breaker = new CircuitBreaker({
    now: () => nowMs,
    random: () => random,
    onChange: (change) => changes.push(change.state === "open" ? `open ${change.openMs}` : "closed"),
  });
});

/** Leave, which must be given. */
function entered(): CallPermit {
  const permit = breaker.enter();
  if (!permit) throw new Error("refused");
  return permit;
}

const fail = (failure: CircuitFailure = {}) => entered().failed(failure);
const failTimes = (times: number) => {
  for (let call = 0; call < times; call += 1) fail();
};
const open = () => failTimes(FAILURES_IN_A_ROW_MAX);

describe("a closed circuit", () => {
  it("lets any number of calls through at once", () => {
    expect(Array.from({ length: 100 }, () => breaker.enter()).every(Boolean)).toBe(true);
  });

  it("stays closed below the failures in a row, and opens at them", () => {
    failTimes(FAILURES_IN_A_ROW_MAX - 1);
    expect(breaker.refusal()).toBeUndefined();
    fail();
    expect(breaker.refusal()).toMatchObject({ why: "open" });
    expect(changes).toEqual(["open 5000"]);
  });

  it("counts failures in a row anew after a success, and not after a call that says nothing", () => {
    failTimes(FAILURES_IN_A_ROW_MAX - 1);
    entered().succeeded();
    failTimes(FAILURES_IN_A_ROW_MAX - 1);
    entered().released();
    expect(breaker.refusal()).toBeUndefined();
    fail();
    expect(breaker.refusal()).toBeDefined();
  });

  it("opens when more than half of many calls fail, however they are mixed, within the window only", () => {
    const mix = (calls: number) => {
      for (let call = 0; call < calls && !breaker.refusal(); call += 1) {
        if (call % 3 === 0) entered().succeeded();
        else fail();
      }
    };
    mix(18);
    nowMs += 31_000;
    mix(18);
    expect(breaker.refusal()).toBeUndefined();
    mix(3);
    expect(breaker.refusal()).toBeDefined();
  });

  it("opens at once for a failure that lasts", () => {
    fail({ lasting: true });
    expect(breaker.refusal()).toMatchObject({ why: "open" });
  });

  it("ignores a second end of one call", () => {
    const permit = entered();
    for (let end = 0; end < 10; end += 1) permit.failed({});
    expect(breaker.refusal()).toBeUndefined();
  });
});

describe("an open circuit", () => {
  it("refuses every call until its time is up, then lets one probe through at a time", () => {
    open();
    nowMs += 4_990;
    expect(breaker.enter()).toBeUndefined();
    nowMs += 10;
    const probe = entered();
    expect(Array.from({ length: 50 }, () => breaker.enter()).some(Boolean)).toBe(false);
    probe.released();
    expect(breaker.enter()).toBeDefined();
  });

  it("closes for all at the probe's first token, not only at its end", () => {
    open();
    nowMs += 5_000;
    const probe = entered();
    probe.firstToken();
    expect(changes.at(-1)).toBe("closed");
    expect(breaker.enter()).toBeDefined();
    probe.succeeded();
    failTimes(FAILURES_IN_A_ROW_MAX - 1);
    expect(breaker.refusal()).toBeUndefined();
  });

  it("opens again when the probe fails after its first token, for longer", () => {
    open();
    nowMs += 5_000;
    const probe = entered();
    probe.firstToken();
    probe.failed({});
    expect(breaker.refusal()?.waitMs).toBeCloseTo(10_000, -2);
  });

  it("stays open longer with each probe that fails, never longer than the most", () => {
    open();
    const waits: number[] = [];
    for (let probe = 0; probe < 6; probe += 1) {
      const waitMs = Math.round((breaker.refusal()?.waitMs ?? 0) / 1000) * 1000;
      waits.push(waitMs);
      nowMs += waitMs + 10;
      fail();
    }
    expect(waits).toEqual([5_000, 10_000, 20_000, OPEN_MS_MAX, OPEN_MS_MAX, OPEN_MS_MAX]);
    // It told of itself once: it has been open all the while.
    expect(changes).toEqual(["open 5000"]);
  });

  it("is open for a shorter time by chance, by a quarter at most", () => {
    random = 1;
    open();
    expect(changes).toEqual(["open 3750"]);
  });

  it("does not hear what calls from before it opened find out", () => {
    const early = [entered(), entered()];
    open();
    early[0]?.succeeded();
    expect(breaker.refusal()).toBeDefined();
    nowMs += 5_000;
    early[1]?.failed({});
    expect(breaker.refusal()).toBeUndefined();
  });

  it("lets through who has nobody else to ask, one at a time and one a second", () => {
    open();
    expect(breaker.enterAsLastResort()).toBeUndefined();
    nowMs += LAST_RESORT_INTERVAL_MS;
    const probe = breaker.enterAsLastResort();
    expect(probe).toBeDefined();
    nowMs += LAST_RESORT_INTERVAL_MS;
    expect(breaker.enterAsLastResort()).toBeUndefined();
    probe?.succeeded();
    expect(breaker.enter()).toBeDefined();
  });
});

describe("a provider's own word", () => {
  it("pauses all calls for a rate limit, and then lets all through: it is no outage", () => {
    const calls = Array.from({ length: 10 }, entered);
    for (const call of calls) call.failed({ retryAfterMs: 2_000, rateLimited: true });
    expect(breaker.refusal()).toMatchObject({ why: "paused" });
    expect(breaker.enterAsLastResort()).toBeUndefined();
    nowMs += 1_990;
    expect(breaker.enter()).toBeUndefined();
    nowMs += 10;
    expect(Array.from({ length: 10 }, () => breaker.enter()).every(Boolean)).toBe(true);
    expect(changes).toEqual([]);
  });

  it("comes on top of an outage", () => {
    failTimes(FAILURES_IN_A_ROW_MAX - 1);
    fail({ retryAfterMs: 60_000 });
    nowMs += 59_000;
    expect(breaker.refusal()).toMatchObject({ why: "paused" });
    nowMs += 1_000;
    expect(breaker.enter()).toBeDefined();
    expect(breaker.enter()).toBeUndefined();
  });

  it("is not taken for longer than the most", () => {
    fail({ retryAfterMs: 3_600_000, rateLimited: true });
    nowMs += PAUSE_MS_MAX;
    expect(breaker.refusal()).toBeUndefined();
  });

  it("may be heard from calls of before, and is never shortened", () => {
    const early = entered();
    fail({ retryAfterMs: 9_000, rateLimited: true });
    early.failed({ retryAfterMs: 1_000, rateLimited: true });
    nowMs += 8_000;
    expect(breaker.refusal()).toMatchObject({ why: "paused" });
  });
});

it("opens for a short time after rate limits without a word", () => {
  for (let call = 0; call < FAILURES_IN_A_ROW_MAX; call += 1) fail({ rateLimited: true });
  expect(changes).toEqual(["open 1000"]);
});
