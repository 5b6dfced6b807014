import { describe, expect, it } from "vitest";
import { parseApiKey } from "../../../core/auth/api-key.ts";
import { CachedDirectory } from "../../../core/directory/cached-directory.ts";
import { Admission } from "../../../core/limits/admission.ts";
import { LIMITS_DEFAULT, resolveLimits } from "../../../core/limits/limits.ts";
import { MemoryLimiter } from "../../../core/limits/memory-limiter.ts";
import { MemoryDirectory } from "../../edge/support/memory-directory.ts";

describe("a limit", () => {
  it("that is changed holds within 30 s, without a restart", async () => {
    let nowMs = 1_000_000;
    const now = () => nowMs;
    const stored = new MemoryDirectory();
    const keyId = parseApiKey(await stored.addKey({ limits: { requestsPerMinute: 1 } }))?.keyId ?? "";
    const directory = new CachedDirectory(stored, { now, coalesce: true });
    const admission = new Admission(new MemoryLimiter(now));
    const isAdmitted = async () => {
      const record = await directory.findApiKey(keyId);
      if (!record) throw new Error("the key is not there");
      const limits = resolveLimits(record.limits, record.tenantLimits, LIMITS_DEFAULT);
      return (await admission.countRequest({ ...record, limits }, () => {})).refusal === undefined;
    };
    expect([await isAdmitted(), await isAdmitted()]).toEqual([true, false]);
    const record = stored.keys.get(keyId);
    if (record) stored.keys.set(keyId, { ...record, limits: { requestsPerMinute: 5 } });
    nowMs += 30_000;
    await isAdmitted();
    expect(await isAdmitted()).toBe(true);
  });

  it("is the key's, else its tenant's, else the default, each by itself", () => {
    const key = { requestsPerMinute: 5 };
    const tenant = { requestsPerMinute: 7, tokensPerMinute: 9 };
    expect(resolveLimits(key, tenant, LIMITS_DEFAULT)).toEqual({
      requestsPerMinute: 5,
      tokensPerMinute: 9,
      tenantTokensPerMinute: LIMITS_DEFAULT.tenantTokensPerMinute,
    });
  });
});
