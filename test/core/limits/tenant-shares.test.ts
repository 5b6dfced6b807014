import { describe, expect, it } from "vitest";
import { TenantShares } from "../../../core/limits/tenant-shares.ts";

const CAPACITY = 1_000;

/** Takes for each tenant in turn until none may take more. */
function fill(shares: TenantShares, tenants: readonly string[], multiple?: number): Map<string, number> {
  const held = new Map<string, number>();
  for (let taking = true; taking; ) {
    taking = false;
    for (const tenant of tenants) {
      if (!shares.hasRoom(tenant, multiple)) continue;
      shares.take(tenant, 1);
      held.set(tenant, (held.get(tenant) ?? 0) + 1);
      taking = true;
    }
  }
  return held;
}

describe("TenantShares", () => {
  it("gives one tenant three quarters, and equal shares of six sevenths to two that want all", () => {
    expect(fill(new TenantShares(CAPACITY), ["a"])).toEqual(new Map([["a", 750]]));
    const both = fill(new TenantShares(CAPACITY), ["a", "b"]);
    expect(both.get("a")).toBe(both.get("b"));
    expect(both.get("a")).toBeGreaterThanOrEqual(428);
  });

  it("has room for a newcomer however many flood it, up to a hundred", () => {
    for (const count of [1, 2, 10, 100]) {
      const shares = new TenantShares(CAPACITY);
      fill(
        shares,
        Array.from({ length: count }, (_, index) => `flood-${index}`),
      );
      expect(shares.hasRoom("newcomer")).toBe(true);
      const [, got = 0] = [...fill(shares, ["newcomer"])][0] ?? [];
      expect(got).toBeGreaterThan(0);
    }
  });

  it("gives a newcomer its equal share as soon as those who were there give back", () => {
    const shares = new TenantShares(CAPACITY);
    fill(shares, ["a"]);
    let newcomer = 0;
    for (let round = 0; round < CAPACITY; round++) {
      shares.release("a", 1);
      for (const tenant of ["b", "a"]) {
        if (!shares.hasRoom(tenant)) continue;
        shares.take(tenant, 1);
        if (tenant === "b") newcomer++;
      }
    }
    expect(newcomer).toBeGreaterThanOrEqual(428);
  });

  it("never gives out more than there is", () => {
    for (const capacity of [1, 2, 3, 7]) {
      const shares = new TenantShares(capacity);
      fill(
        shares,
        Array.from({ length: 50 }, (_, index) => `t-${index}`),
      );
      expect(shares.total).toBe(capacity);
    }
  });

  it("keeps part of a share for later where it is asked with less", () => {
    const shares = new TenantShares(CAPACITY);
    expect(fill(shares, ["a"], 1)).toEqual(new Map([["a", 500]]));
    expect(shares.hasRoom("a")).toBe(true);
  });

  it("knows who holds most, and nobody who has given all back", () => {
    const shares = new TenantShares(CAPACITY);
    expect(shares.heaviest).toBeUndefined();
    shares.take("a", 2);
    shares.take("b", 3);
    expect(shares.heaviest).toBe("b");
    shares.release("b", 3);
    expect([shares.heaviest, shares.total]).toEqual(["a", 2]);
  });
});
