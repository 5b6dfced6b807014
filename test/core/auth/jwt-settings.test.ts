/** The JWT variables of an environment. */
import { describe, expect, it } from "vitest";
import { readJwtSettings } from "../../../core/auth/jwt-settings.ts";

const WITH_URL = { JWT_ISSUER: "i", JWT_AUDIENCE: "a", JWT_JWKS_URL: "https://issuer.example/keys" };
const SECRET = "a-shared-secret-of-the-tests-of-32-bytes";
const WITH_SECRET = { JWT_ISSUER: "i", JWT_AUDIENCE: "a", JWT_SHARED_SECRET: SECRET };

describe("the JWT variables", () => {
  it("turn JWT off when none is set, or all are empty", () => {
    expect(readJwtSettings({})).toEqual({ settings: undefined, problems: [] });
    const empty = { ...WITH_URL, JWT_ISSUER: "", JWT_AUDIENCE: "", JWT_JWKS_URL: "" };
    expect(readJwtSettings(empty)).toEqual({ settings: undefined, problems: [] });
    expect(readJwtSettings({ JWT_ALLOW_OPERATOR: "false" })).toEqual({ settings: undefined, problems: [] });
  });

  it("have defaults for the claims", () => {
    expect(readJwtSettings(WITH_URL).settings).toEqual({
      issuer: "i",
      audience: "a",
      keys: { kind: "jwks", url: "https://issuer.example/keys" },
      tenantClaim: "tenant",
      scopeClaim: "scope",
      allowOperator: false,
    });
    expect(readJwtSettings(WITH_SECRET).settings?.keys).toEqual({ kind: "secret", secret: SECRET });
  });

  it.each<[string, object, string[]]>([
    ["no issuer", { ...WITH_URL, JWT_ISSUER: "" }, ["JWT_ISSUER"]],
    ["no audience", { ...WITH_SECRET, JWT_AUDIENCE: undefined }, ["JWT_AUDIENCE"]],
    ["no keys", { ...WITH_URL, JWT_JWKS_URL: "" }, ["JWT_JWKS_URL", "JWT_SHARED_SECRET"]],
    [
      "a claim alone",
      { JWT_TENANT_CLAIM: "t" },
      ["JWT_ISSUER", "JWT_AUDIENCE", "JWT_JWKS_URL", "JWT_SHARED_SECRET"],
    ],
    ["both kinds of keys", { ...WITH_URL, ...WITH_SECRET }, ["JWT_JWKS_URL", "JWT_SHARED_SECRET"]],
    ["a short secret", { ...WITH_SECRET, JWT_SHARED_SECRET: "x".repeat(31) }, ["JWT_SHARED_SECRET"]],
    ["the edge's own secret", { ...WITH_SECRET, BACKEND_TOKEN_SECRET: SECRET }, ["JWT_SHARED_SECRET"]],
    [
      "a public key for a secret",
      { ...WITH_SECRET, JWT_SHARED_SECRET: `-----BEGIN PUBLIC KEY-----\n${"A".repeat(64)}` },
      ["JWT_SHARED_SECRET"],
    ],
    ["keys over plain HTTP", { ...WITH_URL, JWT_JWKS_URL: "http://issuer.example" }, ["JWT_JWKS_URL"]],
    ["a password in the URL", { ...WITH_URL, JWT_JWKS_URL: "https://u:p@issuer.example" }, ["JWT_JWKS_URL"]],
    ["a flag that is no flag", { ...WITH_URL, JWT_ALLOW_OPERATOR: "yes" }, ["JWT_ALLOW_OPERATOR"]],
  ])("are wrong with %s", (_, env, problems) => {
    expect(readJwtSettings(env)).toEqual({ settings: undefined, problems });
  });

  it("may name plain HTTP on loopback", () => {
    expect(readJwtSettings({ ...WITH_URL, JWT_JWKS_URL: "http://127.0.0.1:9/keys" }).problems).toEqual([]);
  });
});
