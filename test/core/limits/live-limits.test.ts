import { beforeEach, describe, expect, it } from "vitest";
import { parseApiKey } from "../../../core/auth/api-key.ts";
import { CachedDirectory } from "../../../core/directory/cached-directory.ts";
import type { ApiKeyRecord } from "../../../core/directory/directory.ts";
import { Admission } from "../../../core/limits/admission.ts";
import { LIMITS_DEFAULT, resolveLimits } from "../../../core/limits/limits.ts";
import { MemoryLimiter } from "../../../core/limits/memory-limiter.ts";
import { MemoryDirectory } from "../../edge/support/memory-directory.ts";

let nowMs: number;
let stored: MemoryDirectory;
let keyId: string;
let isAdmitted: () => Promise<boolean>;

beforeEach(async () => {
  nowMs = 1_000_000;
  const now = () => nowMs;
  stored = new MemoryDirectory();
  keyId = parseApiKey(await stored.addKey())?.keyId ?? "";
  const directory = new CachedDirectory(stored, { now, coalesce: true });
  const admission = new Admission(new MemoryLimiter(now));
  isAdmitted = async () => {
    const record = await directory.findApiKey(keyId);
    if (!record) throw new Error("the key is not there");
    const limits = resolveLimits(record.limits, record.tenantLimits, LIMITS_DEFAULT);
    return (await admission.countRequest({ ...record, limits }, () => {})).refusal === undefined;
  };
});

function change(fields: Partial<ApiKeyRecord>): void {
  const record = stored.keys.get(keyId);
  if (record) stored.keys.set(keyId, { ...record, ...fields });
}

describe("a limit", () => {
  it("that is changed holds within 30 s, without a restart", async () => {
    change({ limits: { requestsPerMinute: 1 } });
    expect([await isAdmitted(), await isAdmitted()]).toEqual([true, false]);
    change({ limits: { requestsPerMinute: 5 } });
    nowMs += 30_000;
    await isAdmitted();
    expect(await isAdmitted()).toBe(true);
  });

  it("of a tenant that is lowered binds the explicit limits of its keys within 30 s", async () => {
    change({ limits: { requestsPerMinute: 100 }, tenantLimits: { requestsPerMinute: 100 } });
    expect(await isAdmitted()).toBe(true);
    change({ tenantLimits: { requestsPerMinute: 2 } });
    nowMs += 30_000;
    expect([await isAdmitted(), await isAdmitted(), await isAdmitted()]).toEqual([true, true, false]);
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

  it("of a key may be above the default, but not above its tenant's", () => {
    const key = { requestsPerMinute: 5_000, tokensPerMinute: 1_000_000 };
    expect(resolveLimits(key, { tokensPerMinute: 9 }, LIMITS_DEFAULT)).toMatchObject({
      requestsPerMinute: 5_000,
      tokensPerMinute: 9,
    });
  });
});
