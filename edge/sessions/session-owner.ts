/** Whose session it is, and whether the credential behind it is still good. */
import { checkApiKey } from "../../core/auth/api-key.ts";
import type { Principal } from "../../core/auth/principal.ts";
import type { Directory } from "../../core/directory/directory.ts";
import type { LimitedCaller } from "../../core/limits/admission.ts";
import { LIMITS_DEFAULT, type Limits, resolveLimits } from "../../core/limits/limits.ts";

/** A caller, as it was when its credential was last looked at. */
export interface SessionOwner {
  readonly principal: Principal;
  readonly limits: Limits;
}

/** Whether two callers are one: the same name in the same tenant. */
export function isSameCaller(a: Principal, b: Principal): boolean {
  return a.tenantId === b.tenantId && a.subject === b.subject;
}

/** The owner, for limits. */
export function limitedCaller({ principal, limits }: SessionOwner): LimitedCaller {
  const { tenantId, keyId, subject } = principal;
  return { tenantId, keyId, subject, limits };
}

/**
 * The owner with the scopes and limits of now; undefined when its credential has been withdrawn, has expired, or may
 * not send messages any more.
 *
 * @throws ParleyError `unavailable` when that cannot be looked up
 */
export async function recheckOwner(
  owner: SessionOwner,
  directory: Directory,
  nowMs: number,
  signal?: AbortSignal,
): Promise<SessionOwner | undefined> {
  const { principal } = owner;
  if (principal.expiresAtMs !== undefined && principal.expiresAtMs <= nowMs) return undefined;
  if (principal.keyId === "") {
    const tenant = await directory.findTenant(principal.tenantId, signal);
    return tenant && { ...owner, limits: resolveLimits({}, tenant.limits, LIMITS_DEFAULT) };
  }
  const verification = checkApiKey(await directory.findApiKey(principal.keyId, signal), nowMs);
  if (!verification.ok || !isSameCaller(verification.principal, principal)) return undefined;
  if (!verification.principal.scopes.includes("messages:send")) return undefined;
  return { principal: verification.principal, limits: verification.limits };
}
