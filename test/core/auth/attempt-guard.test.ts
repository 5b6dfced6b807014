/** Guessing is slowed, and nobody is locked out by somebody else's guesses. */
import { beforeEach, describe, expect, it } from "vitest";
import { AttemptGuard } from "../../../core/auth/attempt-guard.ts";
import { networkOf } from "../../../core/auth/network-of.ts";

let nowMs: number;
let guard: AttemptGuard;
beforeEach(() => {
  nowMs = 5_000;
  guard = new AttemptGuard(() => nowMs);
});

const fail = (address: string, keyId: string | undefined, times: number) => {
  for (let i = 0; i < times; i++) guard.failed({ address, keyId });
};
const waitMs = (address: string, keyId: string | undefined = "k") => guard.decide({ address, keyId }).waitMs;

describe("wrong guesses", () => {
  it("at one key from one address are looked at ten times, then wait", () => {
    fail("a", "k", 9);
    expect(waitMs("a")).toBe(0);
    fail("a", "k", 1);
    expect(waitMs("a")).toBe(1_000);
    expect(waitMs("a", "another")).toBe(0);
  });

  it("double the wait, up to a minute", () => {
    fail("a", "k", 9);
    const waits = Array.from({ length: 8 }, () => {
      fail("a", "k", 1);
      const wait = waitMs("a");
      nowMs += wait;
      return wait / 1_000;
    });
    expect(waits).toEqual([1, 2, 4, 8, 16, 32, 60, 60]);
    expect(waitMs("a")).toBe(0);
  });

  it("are forgotten after ten quiet minutes", () => {
    fail("a", "k", 9);
    nowMs += 600_000;
    fail("a", "k", 1);
    expect(waitMs("a")).toBe(0);
  });

  it("at many keys make their address wait, for keys and for tokens", () => {
    for (let i = 0; i < 100; i++) fail("a", `k${i}`, 1);
    expect(waitMs("a", "fresh")).toBe(1_000);
    expect(waitMs("a", undefined)).toBe(1_000);
    expect(waitMs("b", "k1")).toBe(0);
  });

  it("with tokens count for the address only", () => {
    fail("a", undefined, 99);
    expect(waitMs("a", undefined)).toBe(0);
    fail("a", undefined, 1);
    expect(waitMs("a", undefined)).toBe(1_000);
  });

  it("from everywhere leave each further address one guess at that key", () => {
    for (let i = 0; i < 101; i++) fail(`bot-${i}`, "k", 1);
    expect(waitMs("new")).toBe(0);
    fail("new", "k", 1);
    expect(waitMs("new")).toBe(1_000);
    expect(waitMs("new", "another")).toBe(0);
  });
});

describe("the owner of a key", () => {
  it("is looked at on its first try, however many addresses guess at the key", () => {
    for (let i = 0; i < 5_000; i++) fail(`bot-${i}`, "k", 3);
    expect(waitMs("owner")).toBe(0);
  });

  it("starts anew after a success, and so does the key's count", () => {
    fail("owner", "k", 9);
    guard.succeeded({ address: "owner", keyId: "k" });
    fail("owner", "k", 9);
    expect(waitMs("owner")).toBe(0);
    for (let i = 0; i < 101; i++) fail(`bot-${i}`, "k", 1);
    guard.succeeded({ address: "owner", keyId: "k" });
    fail("elsewhere", "k", 9);
    expect(waitMs("elsewhere")).toBe(0);
  });

  it("is looked at where it has succeeded before, also when others there are made to wait", () => {
    guard.succeeded({ address: "a", keyId: "k" });
    fail("a", "k", 10);
    for (let i = 0; i < 100; i++) fail("a", `k${i}`, 1);
    expect(guard.decide({ address: "a", keyId: "k" })).toMatchObject({ proven: true });
    expect(guard.decide({ address: "a", keyId: "k1" })).toMatchObject({ proven: false });
    expect(guard.decide({ address: "a", keyId: undefined })).toMatchObject({ proven: false });
  });

  it("does not clear what its address has on it: an attacker may have a key of its own", () => {
    for (let i = 0; i < 99; i++) fail("a", `k${i}`, 1);
    guard.succeeded({ address: "a", keyId: "own" });
    fail("a", "k99", 1);
    expect(waitMs("a", "k100")).toBe(1_000);
  });

  it("does not wait for a clock that was set back", () => {
    fail("a", "k", 10);
    nowMs -= 3_600_000;
    expect(waitMs("a")).toBe(0);
  });
});

describe("the state", () => {
  it("is bounded: what was not met for longest is forgotten", () => {
    fail("a", "k", 10);
    for (let i = 0; i < 10_000; i++) fail(`bot-${i}`, `k${i}`, 1);
    expect(waitMs("a")).toBe(0);
  });
});

describe("addresses", () => {
  it.each([
    ["192.0.2.7", "192.0.2.7"],
    ["::ffff:192.0.2.7", "192.0.2.7"],
    ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
    ["2001:0DB8:0001:0002::1", "2001:db8:1:2::/64"],
    ["2001:db8::1", "2001:db8:0:0::/64"],
    ["::1", "0:0:0:0::/64"],
    ["local", "local"],
    ["a b\n", "ab"],
    ["x".repeat(500), "x".repeat(64)],
  ])("%s counts as %s", (address, network) => {
    expect(networkOf(address)).toBe(network);
  });
});
