/**
 * How much a caller may: what can be set on a key and on a tenant, and which of it holds. Counting is the business
 * of the limiters.
 */
import * as z from "zod";

/** More than any deployment of this kind serves; a larger number is a mistake. */
const REQUESTS_MAX = 1_000_000;
const TOKENS_MAX = 1_000_000_000;

/** What can be set on a key. */
export const keyLimitsSchema = z.strictObject({
  /** Requests in any 60 s, sliding window. */
  requestsPerMinute: z.int().min(1).max(REQUESTS_MAX).optional(),
  /** Model tokens, in and out, that refill per minute; the bucket holds one minute's worth. */
  tokensPerMinute: z.int().min(1).max(TOKENS_MAX).optional(),
});

/** What can be set on a tenant: the same, for each of its keys, and a budget that all of them share. */
export const tenantLimitsSchema = keyLimitsSchema.extend({
  tenantTokensPerMinute: z.int().min(1).max(TOKENS_MAX).optional(),
});

/** Limits set on a key. */
export type KeyLimits = z.output<typeof keyLimitsSchema>;

/** Limits set on a tenant. */
export type TenantLimits = z.output<typeof tenantLimitsSchema>;

/** The limits that hold for one caller. */
export interface Limits {
  readonly requestsPerMinute: number;
  readonly tokensPerMinute: number;
  readonly tenantTokensPerMinute: number;
}

/** What holds where neither key nor tenant says otherwise. */
export const LIMITS_DEFAULT: Limits = {
  requestsPerMinute: 600,
  tokensPerMinute: 200_000,
  tenantTokensPerMinute: 1_000_000,
};

/**
 * The key's limits, else the tenant's, else the defaults; each by itself. A tenant's limit binds its keys whatever
 * stands on them, so that lowering it lowers them all.
 */
export function resolveLimits(key: KeyLimits, tenant: TenantLimits, defaults: Limits): Limits {
  const limitOf = (limit: keyof KeyLimits) => {
    const bound = tenant[limit] ?? Number.POSITIVE_INFINITY;
    return Math.min(key[limit] ?? tenant[limit] ?? defaults[limit], bound);
  };
  return {
    requestsPerMinute: limitOf("requestsPerMinute"),
    tokensPerMinute: limitOf("tokensPerMinute"),
    tenantTokensPerMinute: tenant.tenantTokensPerMinute ?? defaults.tenantTokensPerMinute,
  };
}
