/** The record of administrative changes, as administrators read it: newest first, a page at a time. */
import * as z from "zod";
import { type AdministrationCall, epochMs, isoTime } from "./actor.ts";
import { identifierSchema } from "./agent-document.ts";
import { validate } from "./violations.ts";

const LIMIT_DEFAULT = 50;
const LIMIT_MAX = 200;

/** Which part of the record. Values come from a query string. */
export const auditQuerySchema = z.strictObject({
  cursor: z
    .string()
    .regex(/^[1-9]\d{0,17}$/, "must be `nextCursor` of an earlier page")
    .optional()
    .describe("`nextCursor` of the page before"),
  limit: z.coerce.number<string>().int().min(1).max(LIMIT_MAX).default(LIMIT_DEFAULT),
  targetKind: z.enum(["agent", "key", "tenant", "document", "collection"]).optional(),
  targetId: z.string().min(1).max(128).optional(),
  tenant: identifierSchema.optional().describe("Another tenant's record; for operators"),
});

/** One change. */
export interface AuditEntry {
  tenantId: string;
  /** ISO 8601. */
  at: string;
  actor: string;
  actorKeyId: string;
  action: string;
  targetKind: string;
  targetId: string;
  details: object;
  requestId: string;
  address: string;
}

interface AuditRow {
  position: string;
  tenant_id: string;
  at_ms: number;
  actor: string;
  actor_key_id: string;
  action: string;
  target_kind: string;
  target_id: string;
  details: object;
  request_id: string;
  address: string;
}

const LIST = `
  SELECT position::text AS position, tenant_id, actor, actor_key_id, action, target_kind, target_id, details,
         request_id, address, ${epochMs("created_at")} AS at_ms
    FROM audit_log
   WHERE tenant_id = $1 AND ($2::bigint IS NULL OR position < $2::bigint)
     AND ($3::text IS NULL OR target_kind = $3) AND ($4::text IS NULL OR target_id = $4)
   ORDER BY audit_log.position DESC LIMIT $5::int`;

/**
 * The changes of the actor's tenant, or of the one that an operator names. A caller who is no operator and names a
 * tenant gets that tenant's record only if it is its own.
 *
 * @throws ParleyError `invalid_argument`
 */
export async function listAudit(
  { sql, actor, signal }: AdministrationCall,
  input: unknown,
): Promise<{ entries: AuditEntry[]; nextCursor?: string }> {
  const { cursor, limit, targetKind, targetId, tenant } = validate(auditQuerySchema, input);
  const tenantId = tenant ?? actor.tenantId;
  if (tenantId !== actor.tenantId && !actor.scopes.includes("operator")) return { entries: [] };
  const params = [tenantId, cursor ?? null, targetKind ?? null, targetId ?? null, limit];
  const rows = await sql.query<AuditRow>(LIST, params, signal);
  const last = rows.length === limit ? rows.at(-1) : undefined;
  return { entries: rows.map(auditEntry), ...(last && { nextCursor: last.position }) };
}

function auditEntry(row: AuditRow): AuditEntry {
  return {
    tenantId: row.tenant_id,
    at: isoTime(row.at_ms),
    actor: row.actor,
    actorKeyId: row.actor_key_id,
    action: row.action,
    targetKind: row.target_kind,
    targetId: row.target_id,
    details: row.details,
    requestId: row.request_id,
    address: row.address,
  };
}
