/**
 * The edge's credential at the backend: a JWT (HS256, RFC 7519) that lives for one request and names the
 * caller it speaks for. Both programs share the secret (`BACKEND_TOKEN_SECRET`).
 */
import { type CryptoKey, jwtVerify, SignJWT } from "jose";
import type { Principal } from "./principal.ts";

/** The header that carries it. Not `authorization`, which belongs to callers' own credentials. */
export const BACKEND_TOKEN_HEADER = "parley-backend-token";

/** A shorter secret would be weaker than the hash (RFC 7518, section 3.2). */
export const BACKEND_TOKEN_SECRET_BYTES_MIN = 32;

/** Who signs and who reads: a token of one direction is worth nothing in the other. */
export type TokenDirection = keyof typeof PARTIES;

const PARTIES = {
  "to-backend": { issuer: "parley-edge", audience: "parley-backend" },
  "to-edge": { issuer: "parley-backend", audience: "parley-edge" },
} as const;
/** Covers one request and its retries, and the clocks of two hosts being apart a little. */
const LIFETIME_SECONDS = 60;
const CLOCK_TOLERANCE_SECONDS = 5;

/** Who the edge speaks for, and in which request. */
export interface BackendTokenClaims {
  principal: Principal;
  requestId: string;
  /** Network address of the caller, for the audit log; absent when it is not known. */
  address?: string;
}

/** The secret as a key; import it once, it is used for every request. */
export async function importBackendTokenSecret(secret: string): Promise<CryptoKey> {
  const bytes = new TextEncoder().encode(secret);
  if (bytes.byteLength < BACKEND_TOKEN_SECRET_BYTES_MIN) {
    throw new RangeError(`the backend token secret needs at least ${BACKEND_TOKEN_SECRET_BYTES_MIN} bytes`);
  }
  return crypto.subtle.importKey("raw", bytes, { name: "HMAC", hash: "SHA-256" }, false, ["sign", "verify"]);
}

/** Signs a token for one request at the time `nowMs`. */
export function signBackendToken(
  key: CryptoKey,
  claims: BackendTokenClaims,
  nowMs: number,
  direction: TokenDirection = "to-backend",
): Promise<string> {
  const { issuer, audience } = PARTIES[direction];
  const issuedAt = Math.floor(nowMs / 1000);
  const { tenantId, subject, scopes, keyId } = claims.principal;
  const { requestId: rid, address: adr } = claims;
  return new SignJWT({ tid: tenantId, scp: scopes, kid: keyId, rid, ...(adr && { adr }) })
    .setProtectedHeader({ alg: "HS256" })
    .setSubject(subject)
    .setIssuer(issuer)
    .setAudience(audience)
    .setIssuedAt(issuedAt)
    .setExpirationTime(issuedAt + LIFETIME_SECONDS)
    .sign(key);
}

/** The claims of a token that this secret signed and that is valid at `nowMs`; undefined for any other text. */
export async function verifyBackendToken(
  key: CryptoKey,
  token: string,
  nowMs: number,
  direction: TokenDirection = "to-backend",
): Promise<BackendTokenClaims | undefined> {
  const { issuer, audience } = PARTIES[direction];
  try {
    const { payload } = await jwtVerify(token, key, {
      algorithms: ["HS256"],
      issuer,
      audience,
      requiredClaims: ["exp", "sub", "tid", "scp", "rid"],
      clockTolerance: CLOCK_TOLERANCE_SECONDS,
      currentDate: new Date(nowMs),
    });
    const { sub, tid, scp, kid, rid, adr } = payload;
    if (typeof sub !== "string" || typeof tid !== "string" || typeof rid !== "string") return undefined;
    if (!Array.isArray(scp) || !scp.every((scope) => typeof scope === "string")) return undefined;
    const keyId = typeof kid === "string" ? kid : "";
    return {
      principal: { tenantId: tid, subject: sub, scopes: scp, keyId },
      requestId: rid,
      ...(typeof adr === "string" && { address: adr }),
    };
  } catch {
    return undefined;
  }
}
