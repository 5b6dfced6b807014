/**
 * Verifies callers' JSON Web Tokens (RFC 7519, with the advice of RFC 8725) and maps their claims to a caller. The
 * algorithm follows from the configuration, never from the token: a JWKS URL means public keys, a shared secret
 * means HS256, so that a public key can never be taken for a secret.
 */
import { type CryptoKey, errors, type JWTPayload, jwtVerify } from "jose";
import { IDENTIFIER_PATTERN } from "../directory/agent.ts";
import { ParleyError } from "../errors/parley-error.ts";
import type { Clock } from "../resilience/deadline.ts";
import { CREDENTIAL_CHARACTERS_MAX } from "./bearer.ts";
import { Jwks, PUBLIC_KEY_ALGORITHMS } from "./jwks.ts";
import type { JwtSettings } from "./jwt-settings.ts";
import { type Principal, type RefusalReason, SCOPES } from "./principal.ts";

const JWT_PATTERN = /^[\w-]+\.[\w-]+\.[\w-]*$/;
/** For the clocks of two hosts being apart a little. */
const CLOCK_TOLERANCE_SECONDS = 5;
/** As long as `sender_id` may be; printable, without line ends. */
const SUBJECT_PATTERN = /^[^\p{C}\p{Zl}\p{Zp}]{1,128}$/u;

/** Who the token speaks for; whether the tenant exists is not known yet. */
export type JwtVerification = { ok: true; principal: Principal } | { ok: false; reason: RefusalReason };

/** Verifies one token; throws ParleyError `unavailable` when the issuer's keys cannot be had. */
export type VerifyJwt = (token: string) => Promise<JwtVerification>;

/** What a verifier touches. */
export interface JwtVerifierOptions {
  readonly fetch: typeof globalThis.fetch;
  /** Unix epoch, milliseconds. */
  readonly now: Clock;
}

/** Whether a credential has the form of a JWT: three parts of base64url, the last of which may be empty. */
export function hasFormOfJwt(credential: string): boolean {
  return credential.length <= CREDENTIAL_CHARACTERS_MAX && JWT_PATTERN.test(credential);
}

/** Makes a verifier; it fetches keys when the first token comes. */
export function createJwtVerifier(settings: JwtSettings, { fetch, now }: JwtVerifierOptions): VerifyJwt {
  const { keys } = settings;
  const source =
    keys.kind === "jwks" ? new Jwks({ url: keys.url, fetch, now }) : new SharedSecret(keys.secret);
  const algorithms = keys.kind === "jwks" ? PUBLIC_KEY_ALGORITHMS : ["HS256"];
  return async function verifyJwt(token) {
    const nowMs = now();
    try {
      const { payload } = await jwtVerify(
        token,
        async ({ alg, kid }) => {
          const key = await source.find({ alg, kid });
          if (!key) throw new errors.JWKSNoMatchingKey();
          return key;
        },
        {
          algorithms,
          issuer: settings.issuer,
          audience: settings.audience,
          requiredClaims: ["exp", "sub"],
          clockTolerance: CLOCK_TOLERANCE_SECONDS,
          currentDate: new Date(nowMs),
        },
      );
      return mapClaims(payload, settings, nowMs);
    } catch (error) {
      if (error instanceof ParleyError) throw error;
      return { ok: false, reason: reasonOf(error) };
    }
  };
}

/** The one key of a shared secret, imported at its first use. */
class SharedSecret {
  readonly #secret: string;
  #key: CryptoKey | undefined;

  constructor(secret: string) {
    this.#secret = secret;
  }

  async find(): Promise<CryptoKey> {
    this.#key ??= await crypto.subtle.importKey(
      "raw",
      new TextEncoder().encode(this.#secret),
      { name: "HMAC", hash: "SHA-256" },
      false,
      ["verify"],
    );
    return this.#key;
  }
}

function mapClaims(payload: JWTPayload, settings: JwtSettings, nowMs: number): JwtVerification {
  if (payload.iat !== undefined && payload.iat > nowMs / 1000 + CLOCK_TOLERANCE_SECONDS) {
    return { ok: false, reason: "not-yet-valid" };
  }
  const tenantId = claim(payload, settings.tenantClaim);
  const scopes = readScopes(claim(payload, settings.scopeClaim), settings.allowOperator);
  const { sub: subject, exp } = payload;
  const isComplete =
    typeof tenantId === "string" &&
    IDENTIFIER_PATTERN.test(tenantId) &&
    typeof subject === "string" &&
    SUBJECT_PATTERN.test(subject);
  if (!isComplete || !scopes) return { ok: false, reason: "bad-claims" };
  const expiresAtMs = exp === undefined ? undefined : exp * 1000;
  return { ok: true, principal: { tenantId, subject, scopes, keyId: "", expiresAtMs } };
}

/** Claims may be named like properties that every object has. */
function claim(payload: JWTPayload, name: string): unknown {
  return Object.hasOwn(payload, name) ? payload[name] : undefined;
}

/** The scopes that mean something here; none when the claim is absent, undefined when it is neither text nor list. */
function readScopes(value: unknown, allowOperator: boolean): readonly string[] | undefined {
  const granted = typeof value === "string" ? value.split(" ") : (value ?? []);
  if (!Array.isArray(granted)) return undefined;
  return SCOPES.filter((scope) => granted.includes(scope) && (scope !== "operator" || allowOperator));
}

function reasonOf(error: unknown): RefusalReason {
  if (error instanceof errors.JOSEAlgNotAllowed) return "wrong-algorithm";
  if (error instanceof errors.JWKSNoMatchingKey) return "unknown-key";
  if (error instanceof errors.JWTExpired) return "expired";
  if (!(error instanceof errors.JWTClaimValidationFailed)) return "bad-token";
  if (error.reason !== "check_failed") return "bad-claims";
  if (error.claim === "iss") return "wrong-issuer";
  if (error.claim === "aud") return "wrong-audience";
  return error.claim === "nbf" ? "not-yet-valid" : "bad-claims";
}
