/** API keys: their form, and who is let in. */
import { describe, expect, it } from "vitest";
import { generateApiKey, hashSecret, parseApiKey, verifyApiKey } from "../../../core/auth/api-key.ts";
import { bearerCredential } from "../../../core/auth/bearer.ts";
import type { ApiKeyRecord } from "../../../core/directory/directory.ts";
import { LIMITS_DEFAULT } from "../../../core/limits/limits.ts";

const key = generateApiKey((bytes) => crypto.getRandomValues(bytes));
const record: ApiKeyRecord = {
  keyId: key.keyId,
  tenantId: "acme",
  subject: "ann",
  scopes: ["messages:send"],
  secretSha256: await hashSecret(key.secret),
  expiresAtMs: undefined,
  revokedAtMs: undefined,
  limits: {},
  tenantLimits: {},
};

describe("API keys", () => {
  it("are taken apart into what they were made of", () => {
    expect(key.text).toMatch(/^parley_[a-z0-9]{12}_[A-Za-z0-9]{43}$/);
    expect(parseApiKey(key.text)).toEqual({ keyId: key.keyId, secret: key.secret });
  });

  it("use the whole alphabet evenly, whatever bytes the source gives", () => {
    let next = 0;
    const counting = generateApiKey((bytes) => bytes.map(() => next++ % 256));
    expect(parseApiKey(counting.text)).toBeDefined();
    const stuck = generateApiKey((bytes) => bytes.map((_, index) => (index % 2 ? 255 : 0)));
    expect(new Set(stuck.secret)).toEqual(new Set("A"));
  });

  it.each([
    ["nothing", ""],
    ["another prefix", key.text.replace("parley", "sk")],
    ["a truncated secret", key.text.slice(0, -1)],
    ["a longer secret", `${key.text}x`],
    ["upper case in the id", key.text.replace(key.keyId, key.keyId.toUpperCase().replace(/\d/g, "A"))],
    ["SQL", "parley_' or 1=1 --_x"],
    ["a line end", `${key.text}\n`],
  ])("are not recognised in %s", (_, text) => {
    expect(parseApiKey(text)).toBeUndefined();
  });

  it("let their owner in", async () => {
    const verification = await verifyApiKey(key, record, 1_000);
    expect(verification).toEqual({
      ok: true,
      principal: { tenantId: "acme", subject: "ann", scopes: ["messages:send"], keyId: key.keyId },
      limits: LIMITS_DEFAULT,
    });
  });

  it.each([
    ["of an unknown id", key, undefined, "unknown-key"],
    ["with a wrong secret", { ...key, secret: "x".repeat(43) }, record, "wrong-secret"],
    ["that were revoked", key, { ...record, revokedAtMs: 1_000 }, "revoked"],
    ["that have expired", key, { ...record, expiresAtMs: 1_000 }, "expired"],
    ["whose record has an empty hash", key, { ...record, secretSha256: "" }, "wrong-secret"],
  ] as const)("let nobody in %s", async (_, presented, stored, reason) => {
    expect(await verifyApiKey(presented, stored, 1_000)).toEqual({ ok: false, reason });
  });

  it("work until the moment they expire", async () => {
    expect(await verifyApiKey(key, { ...record, expiresAtMs: 1_001 }, 1_000)).toMatchObject({ ok: true });
  });
});

describe("the bearer credential", () => {
  it("is found whatever the case of the scheme", () => {
    expect(bearerCredential("Bearer abc")).toBe("abc");
    expect(bearerCredential("bearer  abc ")).toBe("abc");
  });

  it.each([
    [undefined],
    [null],
    [""],
    ["Basic abc"],
    ["Bearer"],
    ["Bearer a b"],
    [`Bearer ${"x".repeat(8_193)}`],
    [`Bearer ${"x".repeat(100_000)}`],
  ])("is not found in %s", (header) => {
    expect(bearerCredential(header)).toBeUndefined();
  });
});
