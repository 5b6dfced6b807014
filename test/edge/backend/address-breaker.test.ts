import { describe, expect, it } from "vitest";
import { AddressBreaker, FAILURES_MAX, OPEN_MS } from "../../../edge/backend/address-breaker.ts";
import { AddressPool } from "../../../edge/backend/address-pool.ts";

function clockAt(nowMs: number) {
  const clock = { nowMs };
  return { clock, now: () => clock.nowMs };
}

function failTimes(breaker: AddressBreaker, times: number) {
  for (let i = 0; i < times; i++) breaker.failed();
}

describe("the breaker of an address", () => {
  it("opens after so many failures in a row, and only in a row", () => {
    const breaker = new AddressBreaker(() => 0);
    failTimes(breaker, FAILURES_MAX - 1);
    breaker.succeeded();
    failTimes(breaker, FAILURES_MAX - 1);
    expect(breaker.waitMs()).toBe(0);
    breaker.failed();
    expect(breaker.waitMs()).toBe(OPEN_MS);
  });

  it("lets one probe pass after a while; its success closes it", () => {
    const { clock, now } = clockAt(0);
    const breaker = new AddressBreaker(now);
    failTimes(breaker, FAILURES_MAX);
    clock.nowMs = OPEN_MS - 1;
    expect(breaker.waitMs()).toBe(1);
    clock.nowMs = OPEN_MS;
    expect(breaker.waitMs()).toBe(0);
    breaker.admit();
    expect(breaker.waitMs()).toBe(OPEN_MS);
    breaker.succeeded();
    expect(breaker.waitMs()).toBe(0);
    breaker.failed();
    expect(breaker.waitMs()).toBe(0);
  });

  it("opens again when the probe fails", () => {
    const { clock, now } = clockAt(0);
    const breaker = new AddressBreaker(now);
    failTimes(breaker, FAILURES_MAX);
    clock.nowMs = OPEN_MS;
    breaker.admit();
    clock.nowMs += 10;
    breaker.failed();
    expect(breaker.waitMs()).toBe(OPEN_MS);
  });

  it("lets another probe pass when nothing is ever heard of the first", () => {
    const { clock, now } = clockAt(0);
    const breaker = new AddressBreaker(now);
    failTimes(breaker, FAILURES_MAX);
    clock.nowMs = OPEN_MS;
    breaker.admit();
    clock.nowMs = 2 * OPEN_MS;
    expect(breaker.waitMs()).toBe(0);
  });
});

describe("the pool of addresses", () => {
  const addresses = (now: () => number) =>
    ["a", "b", "c"].map((name) => ({ name, breaker: new AddressBreaker(now) }));

  it("gives them in turn, from a random start", () => {
    const pool = new AddressPool(
      addresses(() => 0),
      () => 0.5,
    );
    const names = Array.from({ length: 4 }, () => pool.pick(new Set())?.name);
    expect(names).toEqual(["b", "c", "a", "b"]);
  });

  it("prefers one not tried yet, and falls back on one that was", () => {
    const all = addresses(() => 0);
    const pool = new AddressPool(all, () => 0);
    expect(pool.pick(new Set(all.slice(0, 2)))?.name).toBe("c");
    expect(pool.pick(new Set(all))?.name).toBe("b");
  });

  it("passes over open breakers, one probe excepted, and says how long all are open", () => {
    const { clock, now } = clockAt(0);
    const all = addresses(now);
    const pool = new AddressPool(all, () => 0);
    for (const { breaker } of all) failTimes(breaker, FAILURES_MAX);
    expect(pool.pick(new Set())).toBeUndefined();
    expect(pool.waitMs()).toBe(OPEN_MS);
    clock.nowMs = OPEN_MS;
    const probes = Array.from({ length: 5 }, () => pool.pick(new Set())?.name);
    expect(probes.filter(Boolean).sort()).toEqual(["a", "b", "c"]);
  });
});
