/**
 * How far the limits of a key may go: a tenant's own administrators lower them for a key, and only operators raise
 * them, by raising the tenant's. Otherwise the limits that an operator sets for a tenant would bind nobody.
 */
import { type KeyLimits, LIMITS_DEFAULT, resolveLimits, tenantLimitsSchema } from "../limits/limits.ts";
import type { AdministrationCall } from "./actor.ts";
import { invalid } from "./violations.ts";

/** @throws ParleyError `invalid_argument` with every limit that is above the tenant's, else the defaults */
export async function requireLimitsWithinTenant(
  { sql, actor, signal }: AdministrationCall,
  wanted: KeyLimits,
): Promise<void> {
  if (actor.scopes.includes("operator") || Object.keys(wanted).length === 0) return;
  const [tenant] = await sql.query<{ limits: unknown }>(
    "SELECT limits FROM tenants WHERE id = $1",
    [actor.tenantId],
    signal,
  );
  const stored = tenantLimitsSchema.safeParse(tenant?.limits);
  const highest = resolveLimits({}, stored.success ? stored.data : {}, LIMITS_DEFAULT);
  const violations = (["requestsPerMinute", "tokensPerMinute"] as const).flatMap((limit) =>
    (wanted[limit] ?? 0) > highest[limit]
      ? [{ field: `limits.${limit}`, description: `is above the tenant's ${highest[limit]}` }]
      : [],
  );
  if (violations.length > 0) throw invalid(violations);
}
