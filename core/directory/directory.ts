/** The port to what is known of tenants, keys and agents. Read-only: administration has its own port. */
import type { KeyLimits, TenantLimits } from "../limits/limits.ts";
import type { Agent } from "./agent.ts";

/** An API key as stored: never the secret, only its hash. */
export interface ApiKeyRecord {
  readonly keyId: string;
  readonly tenantId: string;
  readonly subject: string;
  readonly scopes: readonly string[];
  /** SHA-256 of the secret, lower-case hex. */
  readonly secretSha256: string;
  /** Unix epoch, milliseconds; refused from then on. */
  readonly expiresAtMs: number | undefined;
  readonly revokedAtMs: number | undefined;
  /** Set on the key itself. */
  readonly limits: KeyLimits;
  /** Set on its tenant; here so that a key costs one look-up. */
  readonly tenantLimits: TenantLimits;
}

/** A tenant. */
export interface Tenant {
  readonly id: string;
  readonly name: string;
  readonly limits: TenantLimits;
}

/**
 * Looks things up. A missing thing is `undefined`, never an error; a thing of another tenant is missing.
 * Failures are ParleyError `unavailable` when the store cannot be asked.
 */
export interface Directory {
  findApiKey(keyId: string, signal?: AbortSignal): Promise<ApiKeyRecord | undefined>;
  /** For callers that show no key of ours: their token names the tenant. */
  findTenant(tenantId: string, signal?: AbortSignal): Promise<Tenant | undefined>;
  findAgent(tenantId: string, agentId: string, signal?: AbortSignal): Promise<Agent | undefined>;
  /** All agents of a tenant, by id; at most {@link AGENTS_LISTED_MAX}. */
  listAgents(tenantId: string, signal?: AbortSignal): Promise<readonly Agent[]>;
}

/** A tenant with more agents than this pages through the administration API. */
export const AGENTS_LISTED_MAX = 1000;
