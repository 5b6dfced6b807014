/**
 * Agents, as administrators change them: each change is one statement with its audit row, and every version stays
 * in `agent_versions`, so that a running task keeps its own and a mistake can be undone.
 */
import { IDENTIFIER_PATTERN } from "../directory/agent.ts";
import { AGENTS_LISTED_MAX } from "../directory/directory.ts";
import { type JsonValue, ParleyError } from "../errors/parley-error.ts";
import { type AdministrationCall, actorParams, auditInsert, epochMs, isoTime } from "./actor.ts";
import { type AgentReplacement, validateAgentDocument, validateAgentReplacement } from "./agent-document.ts";
import { applyMergePatch } from "./json-merge-patch.ts";

/** A patch that lost the race this often meets somebody who changes the agent all the time. */
const PATCH_ATTEMPTS_MAX = 5;
/** The newest versions; older ones are kept and not listed. */
const VERSIONS_LISTED_MAX = 200;
/** Longest part of an unknown id that an error repeats. */
const ID_CHARACTERS_MAX = 64;

/** A version of an agent, with its whole configuration as it was written. */
export interface AgentVersion {
  id: string;
  name: string;
  description: string;
  version: number;
  config: JsonValue;
  /** ISO 8601. */
  updatedAt: string;
}

interface AgentRow extends Omit<AgentVersion, "updatedAt"> {
  updated_at_ms: number;
}

const COLUMNS = "id, name, description, version, config";
const CREATE = `
  WITH changed AS (
    INSERT INTO agents (tenant_id, id, name, description, config)
    SELECT $1::text, $6::text, $7::text, $8::text, $9::jsonb
     WHERE (SELECT count(*) FROM agents WHERE tenant_id = $1 AND deleted_at IS NULL) < ${AGENTS_LISTED_MAX}
    ON CONFLICT DO NOTHING
    RETURNING *
  ), versioned AS (${versionInsert("changed")}), audited AS (${audit("agent.create")})
  SELECT ${COLUMNS}, ${epochMs("updated_at")} AS updated_at_ms,
         (SELECT count(*) FROM agents WHERE tenant_id = $1 AND deleted_at IS NULL) >= ${AGENTS_LISTED_MAX} AS "full"
    FROM (SELECT 1) AS always LEFT JOIN changed ON true`;

/** The version before is kept as well: an agent that was seeded has none in the table yet. */
const REPLACE = `
  WITH before AS (
    SELECT * FROM agents WHERE tenant_id = $1 AND id = $6 AND deleted_at IS NULL
  ), changed AS (
    UPDATE agents
       SET name = $7, description = $8, config = $9::jsonb, version = version + 1, updated_at = now()
     WHERE tenant_id = $1 AND id = $6 AND deleted_at IS NULL AND ($10::int IS NULL OR version = $10::int)
    RETURNING *
  ), kept AS (${versionInsert("before")} ON CONFLICT DO NOTHING),
  versioned AS (${versionInsert("changed")}), audited AS (${audit("agent.replace")})
  SELECT ${prefixed("changed")}, ${epochMs("changed.updated_at")} AS updated_at_ms, before.version AS found_version
    FROM before LEFT JOIN changed ON true`;

const DELETE = `
  WITH before AS (
    SELECT * FROM agents WHERE tenant_id = $1 AND id = $6 AND deleted_at IS NULL
  ), changed AS (
    UPDATE agents SET deleted_at = now(), updated_at = now()
     WHERE tenant_id = $1 AND id = $6 AND deleted_at IS NULL AND ($7::int IS NULL OR version = $7::int)
    RETURNING *
  ), kept AS (${versionInsert("before")} ON CONFLICT DO NOTHING), audited AS (${audit("agent.delete")})
  SELECT changed.id, before.version AS found_version FROM before LEFT JOIN changed ON true`;

const READ = `
  SELECT ${COLUMNS}, ${epochMs("updated_at")} AS updated_at_ms FROM agents
   WHERE tenant_id = $1 AND id = $2 AND deleted_at IS NULL`;

const LIST = `
  SELECT ${COLUMNS}, ${epochMs("updated_at")} AS updated_at_ms FROM agents
   WHERE tenant_id = $1 AND deleted_at IS NULL ORDER BY id COLLATE "C" LIMIT ${AGENTS_LISTED_MAX}`;

const LIST_VERSIONS = `
  SELECT ${prefixed("v")}, ${epochMs("v.at")} AS updated_at_ms
    FROM (
      SELECT tenant_id, ${COLUMNS}, created_at AS at FROM agent_versions
      UNION ALL
      SELECT tenant_id, ${COLUMNS}, updated_at FROM agents a
       WHERE NOT EXISTS (
         SELECT FROM agent_versions k WHERE k.tenant_id = a.tenant_id AND k.id = a.id AND k.version = a.version)
    ) v
    JOIN agents a ON a.tenant_id = v.tenant_id AND a.id = v.id AND a.deleted_at IS NULL
   WHERE v.tenant_id = $1 AND v.id = $2 ORDER BY v.version DESC LIMIT ${VERSIONS_LISTED_MAX}`;

/** Makes an agent. @throws ParleyError `invalid_argument`, `conflict` (the id is taken), `resource_exhausted` */
export async function createAgent(call: AdministrationCall, input: unknown): Promise<AgentVersion> {
  const { id, ...agent } = validateAgentDocument(input);
  const [row] = await call.sql.query<Partial<AgentRow> & { full: boolean }>(
    CREATE,
    [...actorParams(call.actor), id, ...columnValues(agent)],
    call.signal,
  );
  if (row?.id) return agentVersion(row as AgentRow);
  if (row?.full) {
    throw new ParleyError(
      "resource_exhausted",
      `a tenant can have ${AGENTS_LISTED_MAX} agents; delete some first`,
    );
  }
  throw new ParleyError("conflict", `the id "${id}" is taken; ids of deleted agents stay taken`);
}

/**
 * Replaces an agent.
 *
 * @param expectedVersion the version that the caller means to replace; undefined for whatever is there
 * @throws ParleyError `invalid_argument`, `not_found`, `conflict` (reason `version-mismatch`)
 */
export async function replaceAgent(
  call: AdministrationCall,
  id: string,
  input: unknown,
  expectedVersion?: number,
): Promise<AgentVersion> {
  return replaceWith(call, id, validateAgentReplacement(input), expectedVersion);
}

/**
 * Changes parts of an agent by JSON merge patch. Without an expected version it is applied to whatever is there.
 *
 * @throws as {@link replaceAgent}
 */
export async function patchAgent(
  call: AdministrationCall,
  id: string,
  patch: JsonValue,
  expectedVersion?: number,
): Promise<AgentVersion> {
  for (let attempt = 1; ; attempt++) {
    const { name, description, config, version } = await readAgent(call, id);
    const replacement = validateAgentReplacement(applyMergePatch({ name, description, config }, patch));
    try {
      return await replaceWith(call, id, replacement, expectedVersion ?? version);
    } catch (error) {
      const lostRace = error instanceof ParleyError && error.reason === "version-mismatch";
      if (!lostRace || expectedVersion !== undefined || attempt === PATCH_ATTEMPTS_MAX) throw error;
    }
  }
}

/** Deletes an agent; its id and its versions stay. @throws as {@link replaceAgent} */
export async function deleteAgent(
  call: AdministrationCall,
  id: string,
  expectedVersion?: number,
): Promise<void> {
  requireIdentifier(id);
  const params = [...actorParams(call.actor), id, expectedVersion ?? null];
  const [row] = await call.sql.query<{ id: string | null; found_version: number }>(
    DELETE,
    params,
    call.signal,
  );
  if (!row) throw agentNotFound(id);
  if (row.id === null) throw versionMismatch(row.found_version);
}

/** One agent as it stands now, not from a cache. @throws ParleyError `not_found` */
export async function readAgent(
  { sql, actor, signal }: AdministrationCall,
  id: string,
): Promise<AgentVersion> {
  requireIdentifier(id);
  const [row] = await sql.query<AgentRow>(READ, [actor.tenantId, id], signal);
  if (!row) throw agentNotFound(id);
  return agentVersion(row);
}

/** All agents of the tenant, by id. */
export async function listAgents({ sql, actor, signal }: AdministrationCall): Promise<AgentVersion[]> {
  return (await sql.query<AgentRow>(LIST, [actor.tenantId], signal)).map(agentVersion);
}

/** The versions of an agent, newest first, the current one included. @throws ParleyError `not_found` */
export async function listAgentVersions(
  { sql, actor, signal }: AdministrationCall,
  id: string,
): Promise<AgentVersion[]> {
  requireIdentifier(id);
  const rows = await sql.query<AgentRow>(LIST_VERSIONS, [actor.tenantId, id], signal);
  if (rows.length === 0) throw agentNotFound(id);
  return rows.map(agentVersion);
}

/** The same words for an agent that there is not and for one of another tenant. */
export function agentNotFound(id: string): ParleyError {
  const shown = id.slice(0, ID_CHARACTERS_MAX);
  return new ParleyError("not_found", `no agent "${shown}"; GET /api/v1/agents lists those you can reach`);
}

async function replaceWith(
  { sql, actor, signal }: AdministrationCall,
  id: string,
  agent: AgentReplacement,
  expectedVersion: number | undefined,
): Promise<AgentVersion> {
  requireIdentifier(id);
  const params = [...actorParams(actor), id, ...columnValues(agent), expectedVersion ?? null];
  const [row] = await sql.query<Partial<AgentRow> & { found_version: number }>(REPLACE, params, signal);
  if (!row) throw agentNotFound(id);
  if (!row.id) throw versionMismatch(row.found_version);
  return agentVersion(row as AgentRow);
}

/** Texts that cannot be an id are not asked for. */
function requireIdentifier(id: string): void {
  if (!IDENTIFIER_PATTERN.test(id)) throw agentNotFound(id);
}

function versionMismatch(version: number): ParleyError {
  return new ParleyError("conflict", "the agent has been changed meanwhile; read it again", {
    reason: "version-mismatch",
    details: { version },
  });
}

function columnValues({ name, description, config }: AgentReplacement): [string, string, string] {
  return [name, description, JSON.stringify(config)];
}

function agentVersion({ id, name, description, version, config, updated_at_ms }: AgentRow): AgentVersion {
  return { id, name, description, version, config, updatedAt: isoTime(updated_at_ms) };
}

function versionInsert(from: string): string {
  return `
    INSERT INTO agent_versions (tenant_id, ${COLUMNS}, created_by, created_at)
    SELECT tenant_id, ${COLUMNS}, ${from === "changed" ? "$2::text" : "''"}, updated_at FROM ${from}`;
}

function audit(action: string): string {
  return auditInsert({
    from: "changed",
    action,
    targetKind: "agent",
    targetId: "id",
    details: "jsonb_build_object('version', version, 'name', name)",
  });
}

function prefixed(table: string): string {
  return COLUMNS.replaceAll(/\w+/g, `${table}.$&`);
}
