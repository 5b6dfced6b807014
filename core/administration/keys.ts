/**
 * API keys, as administrators make and end them. A secret is returned once, by the operation that made it; only
 * its hash is stored. Nobody makes, or by rotation obtains, a key that may do more than he may himself, or that
 * outlives his own; nobody but operators ends one that may do more.
 */
import { generateApiKey, hashSecret, type RandomBytes } from "../auth/api-key.ts";
import { SCOPES } from "../auth/principal.ts";
import { ParleyError } from "../errors/parley-error.ts";
import { ACTOR_HAS_ENDED, type AdministrationCall, actorParams, auditInsert, requireActor } from "./actor.ts";
import {
  KEY_COLUMNS,
  type KeyRow,
  type KeyView,
  keyView,
  type NewKeyView,
  newKeySchema,
  rotationSchema,
} from "./key-document.ts";
import { expiryViolations, latestExpiryMs, outlives } from "./key-expiry.ts";
import { requireLimitsWithinTenant } from "./key-limits.ts";
import { invalid, type Violation, validate } from "./violations.ts";

/** Keys of a tenant that can be used; a deployment for more callers than this has them bring tokens. */
const USABLE_KEYS_MAX = 1_000;
/** The newest, usable ones first; older ones that ended are kept and not listed. */
const KEYS_LISTED_MAX = 1_000;
const KEY_ID_PATTERN = /^[a-z0-9]{12}$/;

const IS_USABLE = "revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())";
const HAS_ROOM = `
  (SELECT count(*) FROM api_keys WHERE tenant_id = $1 AND ${IS_USABLE}) < ${USABLE_KEYS_MAX}`;

const CREATE = `
  WITH changed AS (
    INSERT INTO api_keys (id, tenant_id, secret_sha256, subject, label, scopes, expires_at, limits, created_by)
    SELECT $6::text, t.id, $7::text, $8::text, $9::text, $10::text[], $11::timestamptz, $12::jsonb, $2::text
      FROM tenants t WHERE t.id = $1 AND ${HAS_ROOM} AND NOT ${ACTOR_HAS_ENDED}
    RETURNING *
  ), audited AS (${audit("key.create", keyDetails())})
  SELECT ${KEY_COLUMNS} FROM changed`;

/**
 * The old key is found only if the caller has all of its scopes, and only if the new one would end by `$12`. It has one successor at a time: of two rotations
 * at once the index lets one through. A new life is as long as the old one was meant to be, and no rotation has
 * shortened that, since a key with a successor is not rotated.
 */
const ROTATE = `
  WITH found AS (
    SELECT *, coalesce($10::timestamptz, now() + (expires_at - created_at)) AS new_expires_at
      FROM api_keys WHERE tenant_id = $1 AND id = $6 AND ${IS_USABLE} AND scopes <@ $7::text[]
  ), old AS (
    SELECT * FROM found
     WHERE $12::timestamptz IS NULL OR coalesce(new_expires_at, 'infinity') <= $12::timestamptz
  ), changed AS (
    INSERT INTO api_keys
      (id, tenant_id, secret_sha256, subject, label, scopes, expires_at, limits, created_by, replaces)
    SELECT $8::text, tenant_id, $9::text, subject, label, scopes, new_expires_at, limits, $2::text, id
      FROM old WHERE ${HAS_ROOM} AND NOT ${ACTOR_HAS_ENDED}
    ON CONFLICT DO NOTHING
    RETURNING *
  ), ended AS (
    UPDATE api_keys k
       SET expires_at = least(coalesce(k.expires_at, 'infinity'), now() + make_interval(secs => $11::float8))
      FROM changed WHERE k.id = changed.replaces
  ), audited AS (${audit("key.rotate", `${keyDetails()} || jsonb_build_object('replaces', replaces)`)})
  SELECT ${KEY_COLUMNS} FROM changed`;

/** `$7`: the caller's scopes; an operator's bind nothing here. */
const REVOKE = `
  WITH changed AS (
    UPDATE api_keys SET revoked_at = now()
     WHERE tenant_id = $1 AND id = $6 AND revoked_at IS NULL
       AND (scopes <@ $7::text[] OR 'operator' = ANY ($7::text[]))
    RETURNING *
  ), audited AS (${audit("key.revoke", keyDetails())})
  SELECT scopes FROM api_keys WHERE tenant_id = $1 AND id = $6`;

const FIND = `SELECT ${KEY_COLUMNS} FROM api_keys WHERE tenant_id = $1 AND id = $2`;

const LIST = `
  SELECT ${KEY_COLUMNS} FROM api_keys WHERE tenant_id = $1
   ORDER BY (${IS_USABLE}) DESC, created_at DESC, id LIMIT ${KEYS_LISTED_MAX}`;

/**
 * Makes a key.
 *
 * @throws ParleyError `invalid_argument`, also for scopes beyond the caller's, limits beyond the tenant's and a
 *   life beyond the credential's; `not_found` when there is no such tenant (command line only); `resource_exhausted`
 */
export async function createKey(
  call: AdministrationCall,
  input: unknown,
  random: RandomBytes,
  nowMs: number,
): Promise<NewKeyView> {
  const { sql, actor, signal } = call;
  const latestMs = latestExpiryMs(actor, nowMs);
  const further = [...scopesBeyond(actor.scopes, input), ...expiryViolations(input, nowMs, latestMs)];
  const wanted = validate(newKeySchema, input, further);
  if (latestMs !== undefined && wanted.expiresAt === undefined) throw invalid([outlives(latestMs)]);
  await requireLimitsWithinTenant(call, wanted.limits);
  const key = generateApiKey(random);
  const [row] = await sql.query<KeyRow>(
    CREATE,
    [
      ...actorParams(actor),
      key.keyId,
      await hashSecret(key.secret),
      wanted.subject,
      wanted.label,
      [...new Set(wanted.scopes)],
      wanted.expiresAt ?? null,
      JSON.stringify(wanted.limits),
    ],
    signal,
  );
  if (row) return { ...keyView(row), key: key.text };
  await requireActor(call);
  const tenants = await sql.query("SELECT id FROM tenants WHERE id = $1", [actor.tenantId], signal);
  if (tenants.length === 0) throw new ParleyError("not_found", `no tenant "${actor.tenantId}"`);
  throw tooManyKeys();
}

/**
 * Replaces a key by a new one with the same rights; the old one works on for `overlapSeconds`.
 *
 * @throws ParleyError `invalid_argument`, also for a life beyond the credential's; `not_found`; `failed_precondition` for a key that has ended or has been
 *   rotated; `permission_denied` for a key with more scopes than the caller; `resource_exhausted`
 */
export async function rotateKey(
  call: AdministrationCall,
  id: string,
  input: unknown,
  random: RandomBytes,
  nowMs: number,
): Promise<NewKeyView> {
  const { sql, actor, signal } = call;
  requireKeyId(id);
  const latestMs = latestExpiryMs(actor, nowMs);
  const further = expiryViolations(input, nowMs, latestMs);
  const { overlapSeconds, expiresAt } = validate(rotationSchema, input, further);
  const key = generateApiKey(random);
  const params = [
    ...actorParams(actor),
    id,
    [...actor.scopes],
    key.keyId,
    await hashSecret(key.secret),
    expiresAt ?? null,
    overlapSeconds,
    latestMs === undefined ? null : new Date(latestMs).toISOString(),
  ];
  const [row] = await sql.query<KeyRow>(ROTATE, params, signal);
  if (row) return { ...keyView(row), key: key.text };
  await requireActor(call);
  const [old] = await sql.query<KeyRow>(FIND, [actor.tenantId, id], signal);
  if (!old) throw keyNotFound(id);
  const { status, scopes } = keyView(old);
  if (status !== "active") throw new ParleyError("failed_precondition", `the key ${id} is ${status}`);
  if (!holdsAll(actor.scopes, scopes)) throw hasMoreScopes(id);
  const [successor] = await sql.query<{ id: string }>(
    "SELECT id FROM api_keys WHERE tenant_id = $1 AND replaces = $2 AND revoked_at IS NULL",
    [actor.tenantId, id],
    signal,
  );
  if (!successor && latestMs !== undefined && expiresAt === undefined) throw invalid([outlives(latestMs)]);
  if (!successor) throw tooManyKeys();
  throw new ParleyError(
    "failed_precondition",
    `the key ${id} has been rotated to ${successor.id}; rotate that one`,
  );
}

/**
 * Ends a key at once; ending it again changes nothing.
 *
 * @throws ParleyError `not_found`; `permission_denied` for a key with more scopes than a caller who is no operator
 */
export async function revokeKey({ sql, actor, signal }: AdministrationCall, id: string): Promise<void> {
  requireKeyId(id);
  const params = [...actorParams(actor), id, [...actor.scopes]];
  const [row] = await sql.query<{ scopes: string[] }>(REVOKE, params, signal);
  if (!row) throw keyNotFound(id);
  if (!holdsAll(actor.scopes, row.scopes) && !actor.scopes.includes("operator")) throw hasMoreScopes(id);
}

/** The tenant's keys, usable ones first, then the newest; at most a thousand. */
export async function listKeys({ sql, actor, signal }: AdministrationCall): Promise<KeyView[]> {
  return (await sql.query<KeyRow>(LIST, [actor.tenantId], signal)).map(keyView);
}

function requireKeyId(id: string): void {
  if (!KEY_ID_PATTERN.test(id)) throw keyNotFound(id);
}

function keyNotFound(id: string): ParleyError {
  return new ParleyError("not_found", `no key "${id.slice(0, 64)}"; GET /api/v1/keys lists yours`);
}

function holdsAll(own: readonly string[], scopes: readonly string[]): boolean {
  return scopes.every((scope) => own.includes(scope));
}

function hasMoreScopes(id: string): ParleyError {
  return new ParleyError("permission_denied", `the key ${id} has scopes that this credential lacks`);
}

function tooManyKeys(): ParleyError {
  return new ParleyError(
    "resource_exhausted",
    `a tenant can have ${USABLE_KEYS_MAX} keys; revoke some first`,
  );
}

function scopesBeyond(own: readonly string[], input: unknown): Violation[] {
  const { scopes } = (input ?? {}) as { scopes?: unknown };
  if (!Array.isArray(scopes)) return [];
  return scopes.flatMap((scope: unknown, index) =>
    SCOPES.some((known) => known === scope) && !own.includes(String(scope))
      ? [{ field: `scopes.${index}`, description: `this credential lacks the scope ${scope} itself` }]
      : [],
  );
}

function keyDetails(): string {
  return "jsonb_build_object('subject', subject, 'label', label, 'scopes', scopes, 'expiresAt', expires_at)";
}

function audit(action: string, details: string): string {
  return auditInsert({ from: "changed", action, targetKind: "key", targetId: "id", details });
}
