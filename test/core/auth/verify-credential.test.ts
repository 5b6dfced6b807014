/** From a header to a caller: keys and tokens, their limits, and what slows guessing. */
import { beforeEach, describe, expect, it } from "vitest";
import { parseApiKey } from "../../../core/auth/api-key.ts";
import { AttemptGuard } from "../../../core/auth/attempt-guard.ts";
import type { VerifyJwt } from "../../../core/auth/jwt.ts";
import { createCredentialVerifier, type VerifyCredential } from "../../../core/auth/verify-credential.ts";
import { LIMITS_DEFAULT } from "../../../core/limits/limits.ts";
import { MemoryDirectory } from "../../edge/support/memory-directory.ts";

const JWT = "aaa.bbb.ccc";
const WRONG = "Z".repeat(43);
const MADE_UP = `parley_${"a".repeat(12)}_${WRONG}`;

let directory: MemoryDirectory;
let key: string;
let verify: VerifyCredential;
let hashed: string[];
let nowMs: number;

const tokens: VerifyJwt = async (token) =>
  token === JWT
    ? {
        ok: true,
        principal: { tenantId: "acme", subject: "tess", scopes: [], keyId: "" },
        expiresAtMs: 2_000_000,
      }
    : { ok: false, reason: "bad-token" };

beforeEach(async () => {
  directory = new MemoryDirectory();
  key = await directory.addKey({ limits: { requestsPerMinute: 7 }, tenantLimits: { tokensPerMinute: 9 } });
  hashed = [];
  nowMs = 1_000_000;
  verify = verifier(tokens);
});

function verifier(verifyJwt: VerifyJwt | undefined): VerifyCredential {
  return createCredentialVerifier({
    directory,
    verifyJwt,
    attempts: new AttemptGuard(() => nowMs),
    now: () => nowMs,
    hashSecret: async (secret) => {
      hashed.push(secret);
      const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(secret));
      return Buffer.from(digest).toString("hex");
    },
  });
}

const show = (credential: string, address = "192.0.2.1") =>
  verify({ authorization: `Bearer ${credential}`, address });
const withWrongSecret = (text: string) => `parley_${parseApiKey(text)?.keyId}_${WRONG}`;
const tooMany = (retryAfterMs: number) => ({
  code: "resource_exhausted",
  reason: "too-many-attempts",
  retryAfterMs,
});

describe("a caller", () => {
  it("with a key has the limits of the key, else of its tenant, else the defaults", async () => {
    expect(await show(key)).toMatchObject({
      ok: true,
      limits: { ...LIMITS_DEFAULT, requestsPerMinute: 7, tokensPerMinute: 9 },
    });
  });

  it("with a token has the limits of its tenant", async () => {
    directory.tenants.set("acme", { id: "acme", name: "Acme", limits: { requestsPerMinute: 3 } });
    expect(await show(JWT)).toMatchObject({
      ok: true,
      principal: { tenantId: "acme", keyId: "" },
      limits: { ...LIMITS_DEFAULT, requestsPerMinute: 3 },
    });
  });

  it("with a token of a tenant that there is not is refused", async () => {
    expect(await show(JWT)).toEqual({ ok: false, reason: "unknown-tenant" });
  });

  it("with a token is refused where no JWT is taken, without a look-up", async () => {
    verify = verifier(undefined);
    expect(await show(JWT)).toEqual({ ok: false, reason: "malformed" });
    expect(directory.lookups).toEqual([]);
  });

  it.each(["' OR '1'='1", "parley_';DROP_x", "x".repeat(9_000), `${JWT}.ddd`, "parley__", "a.b", "…"])(
    "with %.20s is refused without a look-up",
    async (text) => {
      expect(await show(text)).toMatchObject({ ok: false });
      expect(directory.lookups).toEqual([]);
    },
  );

  it("with another key's id and its own secret is refused", async () => {
    const other = await directory.addKey({ tenantId: "other" });
    const mixed = `parley_${parseApiKey(other)?.keyId}_${parseApiKey(key)?.secret}`;
    expect(await show(mixed)).toEqual({ ok: false, reason: "wrong-secret" });
  });

  it("whose directory cannot be asked is told so, and has nothing held against it", async () => {
    directory.failing = true;
    for (let i = 0; i < 20; i++) await expect(show(MADE_UP)).rejects.toMatchObject({ code: "unavailable" });
    directory.failing = false;
    expect(await show(MADE_UP)).toEqual({ ok: false, reason: "unknown-key" });
  });
});

describe("guessing", () => {
  it.each([
    ["a key that there is", () => withWrongSecret(key)],
    ["a key that there is not", () => MADE_UP],
  ])("at %s ends after ten, before anything is hashed or looked up", async (_, credential) => {
    for (let i = 0; i < 10; i++) expect(await show(credential())).toMatchObject({ ok: false });
    const { length } = hashed;
    directory.lookups = [];
    await expect(show(credential())).rejects.toMatchObject(tooMany(1_000));
    expect(hashed).toHaveLength(length);
    expect(directory.lookups).toEqual([]);
    nowMs += 1_000;
    expect(await show(credential())).toMatchObject({ ok: false });
    await expect(show(credential())).rejects.toMatchObject(tooMany(2_000));
  });

  it("by one address leaves the owner alone, elsewhere and where its key has worked", async () => {
    expect(await show(key, "198.51.100.1")).toMatchObject({ ok: true });
    for (const address of ["192.0.2.1", "198.51.100.1"]) {
      for (let i = 0; i < 10; i++) await show(withWrongSecret(key), address);
      await expect(show(withWrongSecret(key), address)).rejects.toMatchObject(tooMany(1_000));
    }
    expect(await show(key, "198.51.100.1")).toMatchObject({ ok: true });
    expect(await show(key, "203.0.113.1")).toMatchObject({ ok: true });
  });

  it("with forged tokens ends after a hundred", async () => {
    for (let i = 0; i < 100; i++) expect(await show("x.y.z")).toMatchObject({ ok: false });
    await expect(show("x.y.z")).rejects.toMatchObject(tooMany(1_000));
  });

  it("is not what a revoked or expired key does", async () => {
    const revoked = await directory.addKey({ revokedAtMs: 1 });
    for (let i = 0; i < 200; i++) expect(await show(revoked)).toEqual({ ok: false, reason: "revoked" });
  });

  it("counts IPv6 callers by their network", async () => {
    for (let i = 0; i < 10; i++) await show(MADE_UP, `2001:db8::${i}`);
    await expect(show(MADE_UP, "2001:db8::ffff")).rejects.toMatchObject(tooMany(1_000));
  });
});
