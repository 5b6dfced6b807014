/** How long a call that stays open may outlive the credential that it was opened with. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { VerifiedCaller } from "../../../backend/rpc/caller.ts";
import { hashSecretWithNode } from "../../../backend/rpc/hash-secret-with-node.ts";
import { LiveCaller } from "../../../backend/rpc/live-caller.ts";
import { generateApiKey, hashSecret, parseApiKey } from "../../../core/auth/api-key.ts";
import { AttemptGuard } from "../../../core/auth/attempt-guard.ts";
import { createCredentialVerifier } from "../../../core/auth/verify-credential.ts";
import { CachedDirectory } from "../../../core/directory/cached-directory.ts";
import type { ApiKeyRecord } from "../../../core/directory/directory.ts";
import { ParleyError } from "../../../core/errors/parley-error.ts";
import { LIMITS_DEFAULT } from "../../../core/limits/limits.ts";
import { ann, directory } from "../tasks/engine-fixture.ts";

const SECOND_MS = 1_000;
const now = () => Date.now();

let record: ApiKeyRecord;
let isAway: boolean;
let verifications: number;
let caller: VerifiedCaller;
let live: LiveCaller;

beforeEach(async () => {
  vi.useFakeTimers();
  isAway = false;
  verifications = 0;
  const key = generateApiKey((bytes) => crypto.getRandomValues(bytes));
  const { keyId = "" } = parseApiKey(key.text) ?? {};
  const secretSha256 = await hashSecret(key.secret);
  const none = { expiresAtMs: undefined, revokedAtMs: undefined, limits: {}, tenantLimits: {} };
  record = { ...ann, ...none, keyId, secretSha256 };
  const stored = {
    ...directory,
    findApiKey: async () => {
      if (isAway) throw new ParleyError("unavailable", "the database cannot be reached");
      return record;
    },
  };
  const verify = createCredentialVerifier({
    directory: new CachedDirectory(stored, { now, coalesce: true }),
    verifyJwt: undefined,
    attempts: new AttemptGuard(now),
    now,
    // At once: Web Crypto takes real time, which these tests have none of.
    hashSecret: hashSecretWithNode,
  });
  const verifyAgain = async () => {
    verifications += 1;
    const verification = await verify({ authorization: `Bearer ${key.text}`, address: "127.0.0.1" });
    if (!verification.ok) throw new ParleyError("unauthenticated", "no");
    return verification;
  };
  const { principal, limits } = await verifyAgain();
  verifications = 0;
  const trace = { traceId: "", parentId: "", flags: "" } as never;
  caller = { principal, limits, requestId: "request-1", address: "", trace, verifyAgain };
  live = new LiveCaller(caller, now);
});
afterEach(() => {
  live.close();
  vi.useRealTimers();
});

/** Seconds until the credential is found to be no longer good, with nobody asking. */
async function secondsUntilRefused(secondsMax: number): Promise<number> {
  for (let seconds = 0; seconds < secondsMax; seconds++) {
    if (live.refused.aborted) return seconds;
    await vi.advanceTimersByTimeAsync(SECOND_MS);
  }
  return Number.POSITIVE_INFINITY;
}

describe("the caller of an open call", () => {
  it("is refused within 60 s of a revocation although nobody asks, whenever that comes", async () => {
    for (let afterSeconds = 0; afterSeconds < 60; afterSeconds += 7) {
      await vi.advanceTimersByTimeAsync(afterSeconds * SECOND_MS);
      expect(live.refused.aborted).toBe(false);
      record = { ...record, revokedAtMs: now() };
      const seconds = await secondsUntilRefused(120);
      expect(seconds).toBeLessThan(60);
      expect(live.refused.reason).toMatchObject({ code: "unauthenticated" });
      await expect(live.current()).rejects.toMatchObject({ code: "unauthenticated" });
      live.close();
      record = { ...record, revokedAtMs: undefined };
      await vi.advanceTimersByTimeAsync(60 * SECOND_MS);
      live = new LiveCaller(caller, now);
    }
  });

  it("ends when its credential expires", async () => {
    record = { ...record, expiresAtMs: now() + 100 * SECOND_MS };
    const seconds = await secondsUntilRefused(200);
    expect(seconds).toBeGreaterThanOrEqual(100);
    expect(seconds).toBeLessThanOrEqual(110);
  });

  it("has limits and scopes of at most a minute ago, and asks the directory only now and then", async () => {
    for (let i = 0; i < 100; i++) await live.current();
    expect(verifications).toBe(0);
    record = { ...record, limits: { requestsPerMinute: 3 }, scopes: ["agents:read"] };
    await vi.advanceTimersByTimeAsync(60 * SECOND_MS);
    expect(await live.current()).toMatchObject({
      limits: { ...LIMITS_DEFAULT, requestsPerMinute: 3 },
      principal: { scopes: ["agents:read"] },
      requestId: "request-1",
    });
    expect(verifications).toBeLessThanOrEqual(6);
  });

  it("goes on while the directory is away, and its requests fail once nothing is known any more", async () => {
    isAway = true;
    await vi.advanceTimersByTimeAsync(500 * SECOND_MS);
    expect(await live.current()).toMatchObject({ principal: { subject: "ann" } });
    await vi.advanceTimersByTimeAsync(700 * SECOND_MS);
    expect(live.refused.aborted).toBe(false);
    await expect(live.current()).rejects.toMatchObject({ code: "unavailable" });
    isAway = false;
    await vi.advanceTimersByTimeAsync(5 * SECOND_MS);
    expect(await live.current()).toMatchObject({ principal: { subject: "ann" } });
  });
});
