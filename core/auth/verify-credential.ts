/**
 * The one way from an `Authorization` header to a caller, the same at the edge and on the backend's port: an API key
 * or a JWT. Guessing is slowed before anything is looked up.
 */
import type { Directory } from "../directory/directory.ts";
import { ParleyError } from "../errors/parley-error.ts";
import { LIMITS_DEFAULT, resolveLimits } from "../limits/limits.ts";
import type { Clock } from "../resilience/deadline.ts";
import { type HashSecret, type PresentedApiKey, parseApiKey, verifyApiKey } from "./api-key.ts";
import type { Attempt, AttemptGuard } from "./attempt-guard.ts";
import { bearerCredential } from "./bearer.ts";
import { hasFormOfJwt, type VerifyJwt } from "./jwt.ts";
import { networkOf } from "./network-of.ts";
import type { RefusalReason, Verification } from "./principal.ts";

/** What credentials are verified with. */
export interface CredentialVerifierOptions {
  readonly directory: Directory;
  /** Undefined where no JWT is taken. */
  readonly verifyJwt: VerifyJwt | undefined;
  readonly attempts: AttemptGuard;
  /** Unix epoch, milliseconds. */
  readonly now: Clock;
  /** Default: by Web Crypto. */
  readonly hashSecret?: HashSecret;
}

/** A credential, and where it comes from. */
export interface PresentedCredential {
  readonly authorization: string | null | undefined;
  /** The caller's address as the platform knows it, never as the caller says. */
  readonly address: string;
  readonly signal?: AbortSignal;
}

/**
 * Verifies a credential.
 *
 * @throws ParleyError `unavailable` when it cannot be looked up; `resource_exhausted`, with the time to wait, when
 *   there were too many wrong ones
 */
export type VerifyCredential = (presented: PresentedCredential) => Promise<Verification>;

/** What was guessed wrong. A revoked or expired credential is no guess: whoever has it had the right one once. */
const GUESSES: readonly RefusalReason[] = ["unknown-key", "wrong-secret", "wrong-algorithm", "bad-token"];

/** Makes the verifier. */
export function createCredentialVerifier(options: CredentialVerifierOptions): VerifyCredential {
  const { directory, verifyJwt, attempts, now } = options;

  async function verifyKey(key: PresentedApiKey, signal: AbortSignal | undefined): Promise<Verification> {
    const record = await directory.findApiKey(key.keyId, signal);
    return verifyApiKey(key, record, now(), options.hashSecret);
  }

  async function verifyToken(
    verify: VerifyJwt,
    token: string,
    signal: AbortSignal | undefined,
  ): Promise<Verification> {
    const verification = await verify(token);
    if (!verification.ok) return verification;
    const { principal } = verification;
    const tenant = await directory.findTenant(principal.tenantId, signal);
    if (!tenant) return { ok: false, reason: "unknown-tenant" };
    return { ok: true, principal, limits: resolveLimits({}, tenant.limits, LIMITS_DEFAULT) };
  }

  return async function verifyCredential({ authorization, address, signal }) {
    const credential = bearerCredential(authorization);
    if (credential === undefined) return { ok: false, reason: "missing" };
    const key = parseApiKey(credential);
    if (!key && !(verifyJwt && hasFormOfJwt(credential))) return { ok: false, reason: "malformed" };

    const attempt: Attempt = { address: networkOf(address), keyId: key?.keyId };
    const { waitMs, proven } = attempts.decide(attempt);
    if (waitMs > 0 && !proven) throw tooManyAttempts(waitMs);
    const verification = key
      ? await verifyKey(key, signal)
      : verifyJwt && (await verifyToken(verifyJwt, credential, signal));
    if (!verification) return { ok: false, reason: "malformed" };
    if (verification.ok) attempts.succeeded(attempt);
    else if (waitMs > 0) throw tooManyAttempts(waitMs);
    else if (GUESSES.includes(verification.reason)) attempts.failed(attempt);
    return verification;
  };
}

function tooManyAttempts(retryAfterMs: number): ParleyError {
  return new ParleyError("resource_exhausted", "too many wrong credentials; wait before the next one", {
    reason: "too-many-attempts",
    retryAfterMs,
  });
}
