/** Who calls, once a credential has been verified. */
import type { Limits } from "../limits/limits.ts";

/** What a caller may be allowed to do; every route and RPC names the one it needs. */
export const SCOPES = [
  "messages:send",
  /** To send in another's name. */
  "messages:send-as",
  /** To search the tenant's messages. */
  "messages:read",
  /** To be told with a reply which models were called for it, and how that went. */
  "attempts:read",
  "agents:read",
  "agents:write",
  /** To list the tenant's keys, and to make, rotate and revoke those with at most the caller's own scopes. */
  "keys:manage",
  "usage:read",
  /** To list and read the tenant's documents, and to search them. */
  "knowledge:read",
  /** To put and delete documents. */
  "knowledge:write",
  /** To manage every tenant of the deployment. */
  "operator",
] as const;

/** One of {@link SCOPES}. */
export type Scope = (typeof SCOPES)[number];

/** A verified caller. Everything that is read or written on its behalf is scoped by `tenantId`. */
export interface Principal {
  readonly tenantId: string;
  /** The caller's name within its tenant; becomes the `sender_id` of its messages. */
  readonly subject: string;
  readonly scopes: readonly string[];
  /** The API key used, never its secret. Empty for a JWT: there tenant and subject are all that names the caller. */
  readonly keyId: string;
  /** When the credential ends, Unix epoch, milliseconds; missing where it does not, or where it is not known. */
  readonly expiresAtMs?: number | undefined;
}

/** Why a credential was refused; for the log only, callers are never told. */
export type RefusalReason =
  | "missing"
  | "malformed"
  | "unknown-key"
  | "wrong-secret"
  | "revoked"
  | "expired"
  | "not-yet-valid"
  | "wrong-algorithm"
  | "wrong-issuer"
  | "wrong-audience"
  | "bad-claims"
  | "unknown-tenant"
  | "bad-token";

/** The outcome of a verification; with the caller come the limits that hold for it. */
export type Verification =
  | { ok: true; principal: Principal; limits: Limits }
  | { ok: false; reason: RefusalReason };
