/** Who calls, once a credential has been verified. */

/** What a caller may be allowed to do; every route and RPC names the one it needs. */
export const SCOPES = [
  "messages:send",
  /** To send in another's name. */
  "messages:send-as",
  /** To search the tenant's messages. */
  "messages:read",
  "agents:read",
  "agents:write",
  /** To make, list, rotate and revoke the tenant's keys, with at most the caller's own scopes. */
  "keys:manage",
  "usage:read",
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
  /** The API key used, for logs; never its secret. */
  readonly keyId: string;
}

/** The outcome of a verification; `reason` is for the log only, callers are never told why. */
export type Verification =
  | { ok: true; principal: Principal }
  | { ok: false; reason: "malformed" | "unknown-key" | "wrong-secret" | "revoked" | "expired" | "bad-token" };
