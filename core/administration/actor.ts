/**
 * Who makes an administrative change, and the row of `audit_log` that records it. Every change is one statement
 * that holds its audit row as well: over Neon's HTTP there is no transaction of several statements, and a change
 * without its record must not exist.
 */
import type { SqlClient, SqlParam } from "../directory/sql-client.ts";
import { ParleyError } from "../errors/parley-error.ts";

/** Who acts, for whom, and from where. */
export interface Actor {
  /** The tenant whose things are read and changed. */
  readonly tenantId: string;
  /** The caller's name. */
  readonly subject: string;
  /** The caller's scopes: the most that a key made by it can have. */
  readonly scopes: readonly string[];
  /** The API key used; empty for the command line and for tokens. */
  readonly keyId: string;
  /** When the credential used ends, Unix epoch, milliseconds; undefined: never. */
  readonly expiresAtMs?: number | undefined;
  readonly requestId: string;
  /** Network address of the caller; empty when unknown. */
  readonly address: string;
}

/** What every operation works with. */
export interface AdministrationCall {
  readonly sql: SqlClient;
  readonly actor: Actor;
  readonly signal?: AbortSignal | undefined;
}

/** Parameters `$1` to `$5` of every changing statement; its own begin with `$6`. */
export function actorParams({ tenantId, subject, keyId, requestId, address }: Actor): SqlParam[] {
  return [tenantId, subject, keyId, requestId, address];
}

/**
 * SQL: whether the actor's key has ended, by the database of now. The edge may honour a revoked key for up to a minute;
 * what would outlive that minute must not be made with it. Keys are never deleted, so one that is not there is no key.
 */
export const ACTOR_HAS_ENDED = `
  EXISTS (SELECT FROM api_keys own WHERE own.id = $3::text
             AND (own.revoked_at IS NOT NULL OR own.expires_at <= now()))`;

/** For a change that came to nothing. @throws ParleyError `unauthenticated` when {@link ACTOR_HAS_ENDED} */
export async function requireActor({ sql, actor, signal }: AdministrationCall): Promise<void> {
  const [own] = await sql.query(
    "SELECT 1 FROM api_keys WHERE id = $1 AND (revoked_at IS NOT NULL OR expires_at <= now())",
    [actor.keyId],
    signal,
  );
  if (own) throw new ParleyError("unauthenticated", "the key that this was asked with has ended");
}

/** What an audit row says beside who and when. All are SQL, none of it from a caller. */
export interface AuditedChange {
  /** The CTE with one row for each change. */
  from: string;
  /** The tenant that the record belongs to. Default: the actor's. */
  tenant?: string;
  action: string;
  targetKind: "agent" | "key" | "tenant" | "document" | "collection";
  /** Expression for the id of what was changed. */
  targetId: string;
  /** Expression of type jsonb; never a secret. */
  details: string;
}

/** The body of the CTE that writes the audit row. */
export function auditInsert({ from, tenant, action, targetKind, targetId, details }: AuditedChange): string {
  return `
    INSERT INTO audit_log
      (tenant_id, actor, actor_key_id, action, target_kind, target_id, details, request_id, address)
    SELECT ${tenant ?? "$1::text"}, $2::text, $3::text, '${action}', '${targetKind}', ${targetId}, ${details},
           $4::text, $5::text
      FROM ${from}`;
}

/** SQL for a time as a JavaScript number: milliseconds since the epoch, with every driver. */
export function epochMs(column: string): string {
  return `(extract(epoch FROM ${column}) * 1000)::float8`;
}

/** A time as the API shows it, ISO 8601 in UTC; `null` for none. */
export function isoTime(ms: number): string;
export function isoTime(ms: number | null): string | null;
export function isoTime(ms: number | null): string | null {
  return ms === null ? null : new Date(ms).toISOString();
}
