/** Callers' JWTs, with the keys of a real JWKS endpoint and with a shared secret. */
import { exportSPKI, generateKeyPair } from "jose";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createJwtVerifier, type VerifyJwt } from "../../../core/auth/jwt.ts";
import type { JwtSettings } from "../../../core/auth/jwt-settings.ts";
import {
  AUDIENCE,
  type Claims,
  ISSUER,
  type IssuerKey,
  type JwksServer,
  makeIssuerKey,
  signToken,
  startJwksServer,
} from "../../support/jwks-server.ts";

const SECRET = "a-shared-secret-of-the-tests-of-32-bytes";
const secretKey = { alg: "HS256", privateKey: new TextEncoder().encode(SECRET) };

let es256: IssuerKey;
let rs256: IssuerKey;
let eddsa: IssuerKey;
let endpoint: JwksServer;
beforeAll(async () => {
  [es256, rs256, eddsa] = await Promise.all([
    makeIssuerKey("es"),
    makeIssuerKey("rs", "RS256"),
    makeIssuerKey("ed", "EdDSA"),
  ]);
  endpoint = await startJwksServer(es256, rs256, eddsa);
});
afterAll(() => endpoint.stop());

function verifier(overrides: Partial<JwtSettings> = {}, aheadSeconds = 0): VerifyJwt {
  const settings: JwtSettings = {
    issuer: ISSUER,
    audience: AUDIENCE,
    keys: { kind: "jwks", url: endpoint.url },
    tenantClaim: "tenant",
    scopeClaim: "scope",
    allowOperator: false,
    ...overrides,
  };
  return createJwtVerifier(settings, { fetch, now: () => Date.now() + aheadSeconds * 1000 });
}
const withSecret = { keys: { kind: "secret", secret: SECRET } } as const;
const inSeconds = (seconds: number) => Math.floor(Date.now() / 1000) + seconds;
const base64url = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");

describe("a JWT", () => {
  it("of each algorithm of public keys lets its subject in", async () => {
    const verify = verifier();
    for (const key of [es256, rs256, eddsa]) {
      const exp = inSeconds(300);
      expect(await verify(await signToken(key, { exp }))).toEqual({
        ok: true,
        principal: {
          tenantId: "default",
          subject: "tess",
          scopes: ["messages:send", "agents:read"],
          keyId: "",
          expiresAtMs: exp * 1000,
        },
      });
    }
  });

  it("signed with the shared secret lets its subject in", async () => {
    expect(await verifier(withSecret)(await signToken(secretKey))).toMatchObject({ ok: true });
  });

  it("signed with another secret is refused", async () => {
    const other = { alg: "HS256", privateKey: new TextEncoder().encode(SECRET.toUpperCase()) };
    expect(await verifier(withSecret)(await signToken(other))).toEqual({ ok: false, reason: "bad-token" });
  });

  it.each<[string, Claims, string]>([
    ["that has expired", { exp: inSeconds(-60) }, "expired"],
    ["that never expires", { exp: undefined }, "bad-claims"],
    ["that is not valid yet", { nbf: inSeconds(60) }, "not-yet-valid"],
    ["issued in the future", { iat: inSeconds(60) }, "not-yet-valid"],
    ["for another audience", { aud: "billing" }, "wrong-audience"],
    ["for no audience", { aud: undefined }, "bad-claims"],
    ["of another issuer", { iss: "https://evil.example" }, "wrong-issuer"],
    ["of no issuer", { iss: undefined }, "bad-claims"],
    ["without a subject", { sub: undefined }, "bad-claims"],
    ["with an empty subject", { sub: "" }, "bad-claims"],
    ["with a subject that is too long", { sub: "x".repeat(129) }, "bad-claims"],
    ["with a line end in its subject", { sub: "tess\nadmin" }, "bad-claims"],
    ["without a tenant", { tenant: undefined }, "bad-claims"],
    ["with SQL for a tenant", { tenant: "default' OR '1'='1" }, "bad-claims"],
    ["with a list for a tenant", { tenant: ["default"] }, "bad-claims"],
    ["with an object for scopes", { scope: { "messages:send": true } }, "bad-claims"],
  ])("%s is refused", async (_, claims, reason) => {
    expect(await verifier()(await signToken(es256, claims))).toEqual({ ok: false, reason });
    expect(await verifier(withSecret)(await signToken(secretKey, claims))).toEqual({ ok: false, reason });
  });

  it("is taken by a clock that is a little apart, not by one that is far", async () => {
    const token = await signToken(es256, { exp: inSeconds(300) });
    expect(await verifier({}, 303)(token)).toMatchObject({ ok: true });
    expect(await verifier({}, 307)(token)).toEqual({ ok: false, reason: "expired" });
  });

  it("without a signature is refused, however it says so", async () => {
    const [, payload] = (await signToken(es256)).split(".");
    for (const alg of ["none", "None", "NONE", ""]) {
      const token = `${base64url({ alg, kid: "es" })}.${payload}.`;
      expect(await verifier()(token)).toMatchObject({ ok: false });
      expect(await verifier(withSecret)(token)).toMatchObject({ ok: false });
    }
  });

  it("of an algorithm that is not configured is refused", async () => {
    const wrong = { ok: false, reason: "wrong-algorithm" };
    expect(await verifier()(await signToken(secretKey))).toEqual(wrong);
    expect(await verifier(withSecret)(await signToken(es256))).toEqual(wrong);
    expect(await verifier()(await signToken(await makeIssuerKey("es", "ES384")))).toEqual(wrong);
  });

  it("signed by HS256 with the issuer's public key as its secret is refused", async () => {
    const { publicKey } = await generateKeyPair("RS256", { extractable: true });
    for (const text of [await exportSPKI(publicKey), JSON.stringify(rs256.jwk), rs256.jwk.n ?? ""]) {
      const confused = { alg: "HS256", kid: "rs", privateKey: new TextEncoder().encode(text) };
      expect(await verifier()(await signToken(confused))).toEqual({ ok: false, reason: "wrong-algorithm" });
    }
  });

  it("that names a key of another type is refused", async () => {
    const token = await signToken({ ...es256, kid: "rs" });
    expect(await verifier()(token)).toEqual({ ok: false, reason: "unknown-key" });
  });

  it("with a changed claim is refused", async () => {
    const [header, payload = "", signature] = (await signToken(es256)).split(".");
    const claims = JSON.parse(Buffer.from(payload, "base64url").toString());
    const forged = `${header}.${base64url({ ...claims, tenant: "other" })}.${signature}`;
    expect(await verifier()(forged)).toEqual({ ok: false, reason: "bad-token" });
  });
});

describe("what a JWT may do", () => {
  const scopesOf = async (claims: Claims, overrides: Partial<JwtSettings> = {}) => {
    const verification = await verifier(overrides)(await signToken(es256, claims));
    return verification.ok ? verification.principal.scopes : verification.reason;
  };

  it("are those of its scopes that there are, as text or as a list", async () => {
    expect(await scopesOf({ scope: "openid agents:read  email" })).toEqual(["agents:read"]);
    expect(await scopesOf({ scope: ["keys:manage", 7, "root"] })).toEqual(["keys:manage"]);
    expect(await scopesOf({ scope: undefined })).toEqual([]);
  });

  it("includes operating the deployment only where the configuration says so", async () => {
    expect(await scopesOf({ scope: "operator usage:read" })).toEqual(["usage:read"]);
    expect(await scopesOf({ scope: "operator" }, { allowOperator: true })).toEqual(["operator"]);
  });

  it("is read from the claims that the configuration names", async () => {
    const names = { tenantClaim: "https://example.com/org", scopeClaim: "permissions" };
    const claims = { "https://example.com/org": "acme", permissions: ["usage:read"] };
    expect(await verifier(names)(await signToken(es256, claims))).toMatchObject({
      principal: { tenantId: "acme", scopes: ["usage:read"] },
    });
    expect(await scopesOf({}, { scopeClaim: "constructor" })).toEqual([]);
    expect(await verifier({ tenantClaim: "constructor" })(await signToken(es256))).toMatchObject({
      ok: false,
    });
  });
});
