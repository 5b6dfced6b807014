/**
 * Tenants, as operators manage them: made, renamed, limited; never deleted here, because their log outlives them.
 * The audit row belongs to the operator's own tenant, so that a tenant does not learn who its operators are.
 */
import * as z from "zod";
import { ParleyError } from "../errors/parley-error.ts";
import { tenantLimitsSchema } from "../limits/limits.ts";
import { type AdministrationCall, actorParams, auditInsert, epochMs, isoTime } from "./actor.ts";
import { identifierSchema } from "./agent-document.ts";
import { validate } from "./violations.ts";

const NAME_CHARACTERS_MAX = 200;
const RETENTION_DAYS_MAX = 36_500;
/** On one page. */
const TENANTS_LISTED_MAX = 200;
/** Names in which the deployment itself speaks. */
const RESERVED_TENANT_IDS: readonly string[] = ["operator", "parley", "system"];

const name = z.string().min(1).max(NAME_CHARACTERS_MAX);
const retentionDays = z
  .int()
  .min(1)
  .max(RETENTION_DAYS_MAX)
  .nullable()
  .describe("Messages older than this are deleted; null: they stay");

/** A new tenant. */
export const newTenantSchema = z.strictObject({
  id: identifierSchema.refine((id) => !RESERVED_TENANT_IDS.includes(id), "is a reserved name"),
  name,
  limits: tenantLimitsSchema.prefault({}),
  retentionDays: retentionDays.default(null),
});

const { requestsPerMinute, tokensPerMinute, tenantTokensPerMinute } = tenantLimitsSchema.shape;

/** A merge patch of a tenant; `null` takes a limit away, so that the default holds. */
export const tenantPatchSchema = z.strictObject({
  name: name.optional(),
  limits: z
    .strictObject({
      requestsPerMinute: requestsPerMinute.nullable(),
      tokensPerMinute: tokensPerMinute.nullable(),
      tenantTokensPerMinute: tenantTokensPerMinute.nullable(),
    })
    .nullable()
    .optional(),
  retentionDays: retentionDays.optional(),
});

/** A page of tenants. */
export const tenantPageSchema = z.strictObject({
  cursor: identifierSchema.optional().describe("`nextCursor` of the page before"),
});

/** A tenant as operators see it. */
export interface TenantView {
  id: string;
  name: string;
  limits: object;
  retentionDays: number | null;
  createdAt: string;
  updatedAt: string;
}

interface TenantRow {
  id: string;
  name: string;
  limits: object;
  retention_days: number | null;
  created_at_ms: number;
  updated_at_ms: number;
}

const COLUMNS = `
  id, name, limits, retention_days, ${epochMs("created_at")} AS created_at_ms, ${epochMs("updated_at")} AS updated_at_ms`;

const CREATE = `
  WITH changed AS (
    INSERT INTO tenants (id, name, limits, retention_days)
    VALUES ($6::text, $7::text, $8::jsonb, $9::int) ON CONFLICT DO NOTHING RETURNING *
  ), audited AS (${audit("tenant.create")})
  SELECT ${COLUMNS} FROM changed`;

/** `$8`: a merge patch of the limits, `{"limits": …}`; `$9`: whether retention is set, `$10`: to what. */
const PATCH = `
  WITH changed AS (
    UPDATE tenants
       SET name = coalesce($7::text, name),
           limits = CASE
             WHEN NOT $8::jsonb ? 'limits' THEN limits
             WHEN $8::jsonb -> 'limits' = 'null' THEN '{}'
             ELSE jsonb_strip_nulls(limits || ($8::jsonb -> 'limits'))
           END,
           retention_days = CASE WHEN $9::boolean THEN $10::int ELSE retention_days END,
           updated_at = now()
     WHERE id = $6 RETURNING *
  ), audited AS (${audit("tenant.patch")})
  SELECT ${COLUMNS} FROM changed`;

/** Makes a tenant. @throws ParleyError `invalid_argument`, `conflict` */
export async function createTenant(
  { sql, actor, signal }: AdministrationCall,
  input: unknown,
): Promise<TenantView> {
  const { id, name, limits, retentionDays } = validate(newTenantSchema, input);
  const params = [...actorParams(actor), id, name, JSON.stringify(limits), retentionDays];
  const [row] = await sql.query<TenantRow>(CREATE, params, signal);
  if (!row) throw new ParleyError("conflict", `the tenant "${id}" exists`);
  return tenantView(row);
}

/** Changes parts of a tenant by JSON merge patch. @throws ParleyError `invalid_argument`, `not_found` */
export async function patchTenant(
  { sql, actor, signal }: AdministrationCall,
  id: string,
  input: unknown,
): Promise<TenantView> {
  const { name, limits, retentionDays } = validate(tenantPatchSchema, input);
  requireTenantId(id);
  const params = [
    ...actorParams(actor),
    id,
    name ?? null,
    JSON.stringify({ limits }),
    retentionDays !== undefined,
    retentionDays ?? null,
  ];
  const [row] = await sql.query<TenantRow>(PATCH, params, signal);
  if (!row) throw tenantNotFound(id);
  return tenantView(row);
}

/** @throws ParleyError `not_found` */
export async function readTenant({ sql, signal }: AdministrationCall, id: string): Promise<TenantView> {
  requireTenantId(id);
  const [row] = await sql.query<TenantRow>(`SELECT ${COLUMNS} FROM tenants WHERE id = $1`, [id], signal);
  if (!row) throw tenantNotFound(id);
  return tenantView(row);
}

/** Every tenant by id, a page at a time; `nextCursor` is there when there are more. */
export async function listTenants(
  { sql, signal }: AdministrationCall,
  input: unknown,
): Promise<{ tenants: TenantView[]; nextCursor?: string }> {
  const { cursor } = validate(tenantPageSchema, input);
  const rows = await sql.query<TenantRow>(
    `SELECT ${COLUMNS} FROM tenants WHERE id COLLATE "C" > $1 ORDER BY id COLLATE "C" LIMIT ${TENANTS_LISTED_MAX}`,
    [cursor ?? ""],
    signal,
  );
  const last = rows.length === TENANTS_LISTED_MAX ? rows.at(-1) : undefined;
  return { tenants: rows.map(tenantView), ...(last && { nextCursor: last.id }) };
}

function requireTenantId(id: string): void {
  if (!identifierSchema.safeParse(id).success) throw tenantNotFound(id);
}

function tenantNotFound(id: string): ParleyError {
  return new ParleyError("not_found", `no tenant "${id.slice(0, 64)}"; GET /api/v1/tenants lists them`);
}

function tenantView(row: TenantRow): TenantView {
  return {
    id: row.id,
    name: row.name,
    limits: row.limits,
    retentionDays: row.retention_days,
    createdAt: isoTime(row.created_at_ms),
    updatedAt: isoTime(row.updated_at_ms),
  };
}

function audit(action: string): string {
  return auditInsert({
    from: "changed",
    action,
    targetKind: "tenant",
    targetId: "id",
    details: "jsonb_build_object('name', name, 'limits', limits, 'retentionDays', retention_days)",
  });
}
