/** The edge's token: whom the backend believes. */
import { SignJWT } from "jose";
import { describe, expect, it } from "vitest";
import {
  importBackendTokenSecret,
  signBackendToken,
  verifyBackendToken,
} from "../../../core/auth/backend-token.ts";

const now = Date.UTC(2026, 10, 22);
const key = await importBackendTokenSecret("0123456789abcdef0123456789abcdef");
const otherKey = await importBackendTokenSecret("fedcba9876543210fedcba9876543210");
const claims = {
  principal: { tenantId: "acme", subject: "ann", scopes: ["messages:send"], keyId: "k1" },
  requestId: "request-1",
};

describe("the backend token", () => {
  it("carries the caller and the request id", async () => {
    const token = await signBackendToken(key, claims, now);
    expect(await verifyBackendToken(key, token, now + 59_000)).toEqual(claims);
  });

  it("is worth nothing after its minute, before it was made, or under another secret", async () => {
    const token = await signBackendToken(key, claims, now);
    expect(await verifyBackendToken(key, token, now + 66_000)).toBeUndefined();
    expect(await verifyBackendToken(otherKey, token, now)).toBeUndefined();
  });

  it("is worth nothing with a changed claim, another algorithm, audience or issuer, or a claim missing", async () => {
    const token = await signBackendToken(key, claims, now);
    const [header, , signature] = token.split(".");
    const forged = btoa(JSON.stringify({ tid: "umbrella" })).replaceAll("=", "");
    expect(await verifyBackendToken(key, `${header}.${forged}.${signature}`, now)).toBeUndefined();
    const none = btoa(JSON.stringify({ alg: "none" })).replaceAll("=", "");
    expect(await verifyBackendToken(key, `${none}.${token.split(".")[1]}.`, now)).toBeUndefined();
    const sign = (issuer: string, audience: string, payload: object) =>
      new SignJWT({ ...payload })
        .setProtectedHeader({ alg: "HS256" })
        .setIssuer(issuer)
        .setAudience(audience)
        .setSubject("ann")
        .setExpirationTime(now / 1000 + 60)
        .sign(key);
    const payload = { tid: "acme", scp: [], rid: "r" };
    const verify = async (token: Promise<string>) => verifyBackendToken(key, await token, now);
    expect(await verify(sign("parley-edge", "parley-backend", payload))).toBeDefined();
    expect(await verify(sign("somebody", "parley-backend", payload))).toBeUndefined();
    expect(await verify(sign("parley-edge", "somebody", payload))).toBeUndefined();
    expect(
      await verify(sign("parley-edge", "parley-backend", { ...payload, tid: undefined })),
    ).toBeUndefined();
    expect(await verify(sign("parley-edge", "parley-backend", { ...payload, scp: "all" }))).toBeUndefined();
  });

  it("needs a secret of at least 32 bytes", async () => {
    await expect(importBackendTokenSecret("short")).rejects.toThrow(/at least 32 bytes/);
  });
});
