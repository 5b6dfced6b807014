/**
 * How far the limits of a key may go: nobody sets one above the tenant's, because it would not hold, and only
 * operators set one above the defaults where the tenant has none.
 */
import { type KeyLimits, LIMITS_DEFAULT, tenantLimitsSchema } from "../limits/limits.ts";
import type { AdministrationCall } from "./actor.ts";
import { invalid } from "./violations.ts";

/** @throws ParleyError `invalid_argument` with every limit that is above the tenant's, else the defaults */
export async function requireLimitsWithinTenant(
  { sql, actor, signal }: AdministrationCall,
  wanted: KeyLimits,
): Promise<void> {
  if (Object.keys(wanted).length === 0) return;
  const [tenant] = await sql.query<{ limits: unknown }>(
    "SELECT limits FROM tenants WHERE id = $1",
    [actor.tenantId],
    signal,
  );
  const stored = tenantLimitsSchema.safeParse(tenant?.limits);
  const ofTenant = stored.success ? stored.data : {};
  const otherwise: KeyLimits = actor.scopes.includes("operator") ? {} : LIMITS_DEFAULT;
  const violations = (["requestsPerMinute", "tokensPerMinute"] as const).flatMap((limit) => {
    const highest = ofTenant[limit] ?? otherwise[limit] ?? Number.POSITIVE_INFINITY;
    return (wanted[limit] ?? 0) > highest
      ? [{ field: `limits.${limit}`, description: `is above the tenant's ${highest}` }]
      : [];
  });
  if (violations.length > 0) throw invalid(violations);
}
