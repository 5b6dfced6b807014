/** Who calls, once a credential has been verified. */

/** What a caller may be allowed to do; every route and RPC names the one it needs. */
export const SCOPES = ["messages:send", "messages:send-as", "agents:read"] as const;

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
