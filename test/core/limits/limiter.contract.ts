/** What every limiter must do, whatever keeps its counts; run on all of them. */
import { beforeEach, describe, expect, it } from "vitest";
import { Admission, type LimitedCaller } from "../../../core/limits/admission.ts";
import type { Limiter, LimiterCall } from "../../../core/limits/limiter.ts";
import { withinAMinute } from "../../support/within-a-minute.ts";

const PARALLEL = 50;

/** A counter that no other test has. */
export function callOn(limit: number, counter = `tenant/${crypto.randomUUID()}`): LimiterCall {
  return { counter, limit, inBackground: () => {} };
}

/** A caller that no other test has. */
export function caller(limits: Partial<LimitedCaller["limits"]>, owner: Partial<LimitedCaller> = {}) {
  return {
    ...{ tenantId: crypto.randomUUID(), keyId: "key-1", subject: "ann", ...owner },
    limits: { requestsPerMinute: 100, tokensPerMinute: 10_000, tenantTokensPerMinute: 10_000, ...limits },
  };
}

/** @param limiter made before the tests run, so given as a function */
export function describeLimiter(name: string, limiter: () => Limiter): void {
  const admission = () => new Admission(limiter());
  const inBackground = () => {};
  const reserve = async (who: LimitedCaller, tokens: number) => {
    const settled: Promise<unknown>[] = [];
    const outcome = await admission().reserveTokens(who, tokens, (work) => settled.push(work));
    await Promise.all(settled);
    return outcome;
  };

  describe(`the limiter ${name}`, () => {
    beforeEach(() => withinAMinute(1_000));

    it("admits 10 of 50 parallel requests against a limit of 10", async () => {
      const call = callOn(10);
      const decisions = await Promise.all(
        Array.from({ length: PARALLEL }, () => limiter().takeRequest(call)),
      );
      const admitted = decisions.filter((decision) => decision.admitted);
      expect(admitted).toHaveLength(10);
      expect(admitted.map(({ remaining }) => remaining).toSorted()).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
      const refused = decisions.find((decision) => !decision.admitted);
      expect(refused?.retryAfterMs).toBeGreaterThan(0);
      expect(refused?.retryAfterMs).toBeLessThanOrEqual(120_000);
    });

    it("admits what 1,000 tokens are enough for of 50 parallel reservations", async () => {
      const call = callOn(1_000);
      const decisions = await Promise.all(
        Array.from({ length: PARALLEL }, () => limiter().reserveTokens(call, 300)),
      );
      expect(decisions.filter(({ admitted }) => admitted)).toHaveLength(3);
    });

    it("lets a small reservation through after it refused a large one", async () => {
      const call = callOn(1_000);
      await limiter().reserveTokens(call, 700);
      expect(await limiter().reserveTokens(call, 700)).toMatchObject({ admitted: false });
      expect(await limiter().reserveTokens(call, 200)).toMatchObject({ admitted: true });
    });

    it("gives back what a call did not use, once, and never more than the bucket holds", async () => {
      const who = caller({ tokensPerMinute: 1_000 });
      const { reservation } = await reserve(who, 1_000);
      expect((await reserve(who, 500)).refusal).toMatchObject({ reason: "token-limit" });
      await Promise.all([reservation.settle(100), reservation.settle(100), reservation.settle(0)]);
      expect((await reserve(who, 950)).refusal).toBeDefined();
      expect((await reserve(who, 850)).refusal).toBeUndefined();

      const call = callOn(1_000);
      const { decidedBy } = await limiter().reserveTokens(call, 100);
      await limiter().settleTokens(call, -5_000, decidedBy);
      expect(await limiter().reserveTokens(call, 1_000)).toMatchObject({ admitted: true });
      expect(await limiter().reserveTokens(call, 100)).toMatchObject({ admitted: false });
    });

    it("charges what a call used beyond its reservation, as a debt where it has to", async () => {
      const who = caller({ tokensPerMinute: 1_000 });
      const { reservation } = await reserve(who, 500);
      await reservation.settle(30_000);
      expect((await reserve(who, 1)).refusal).toMatchObject({
        ...{ code: "resource_exhausted", reason: "token-limit", retryable: true },
        details: { limit: 1_000, windowSeconds: 60 },
      });
    });

    it("shares the tenant's budget among its keys, and charges neither when one refuses", async () => {
      const limits = { tokensPerMinute: 800, tenantTokensPerMinute: 1_000 };
      const first = caller(limits);
      const second = { ...first, keyId: "key-2" };
      expect((await reserve(first, 800)).refusal).toBeUndefined();
      expect((await reserve(second, 400)).refusal).toMatchObject({ reason: "tenant-token-limit" });
      expect((await reserve(second, 200)).refusal).toBeUndefined();
      const roomier = { ...second, limits: { ...second.limits, tenantTokensPerMinute: 10_000 } };
      const { quotas } = await reserve(roomier, 1);
      expect(quotas.find((quota) => quota.name === "tokens")?.remaining).toBeGreaterThanOrEqual(599);
    });

    it("shares nothing between two tenants, however their names are spelled", async () => {
      const one = caller({ requestsPerMinute: 1 }, { keyId: "a/key/b" });
      const other = { ...one, tenantId: `${one.tenantId}/key/a`, keyId: "b" };
      const another = { ...one, tenantId: crypto.randomUUID() };
      const token = { ...one, keyId: "", subject: one.keyId };
      for (const who of [one, other, another, token]) {
        expect((await admission().countRequest(who, inBackground)).refusal).toBeUndefined();
        expect((await admission().countRequest(who, inBackground)).refusal).toMatchObject({
          reason: "request-limit",
        });
      }
    });

    it("takes a changed limit at once", async () => {
      const who = caller({ requestsPerMinute: 1 });
      await admission().countRequest(who, inBackground);
      expect((await admission().countRequest(who, inBackground)).refusal).toBeDefined();
      const raised = { ...who, limits: { ...who.limits, requestsPerMinute: 3 } };
      expect((await admission().countRequest(raised, inBackground)).refusal).toBeUndefined();
    });
  });
}
