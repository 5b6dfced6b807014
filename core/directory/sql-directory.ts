/**
 * The directory as it stands in PostgreSQL. The same SQL runs on PGlite, node-postgres and Neon. Only reads;
 * what an agent's stored configuration must look like is decided by its schema.
 */
import type { z } from "zod";
import { ParleyError } from "../errors/parley-error.ts";
import { keyLimitsSchema, tenantLimitsSchema } from "../limits/limits.ts";
import { type Agent, agentConfigSchema, IDENTIFIER_PATTERN } from "./agent.ts";
import { AGENTS_LISTED_MAX, type ApiKeyRecord, type Directory, type Tenant } from "./directory.ts";
import type { SqlClient } from "./sql-client.ts";

/** A stored agent that cannot be used. */
export interface InvalidAgent {
  readonly tenantId: string;
  readonly agentId: string;
  /** What is wrong, and where in its configuration. */
  readonly problem: string;
}

interface ApiKeyRow {
  id: string;
  tenant_id: string;
  subject: string;
  scopes: string[];
  secret_sha256: string;
  expires_at_ms: number | null;
  revoked_at_ms: number | null;
  limits: unknown;
  tenant_limits: unknown;
}

interface TenantRow {
  id: string;
  name: string;
  limits: unknown;
}

interface AgentRow {
  tenant_id: string;
  id: string;
  name: string;
  description: string;
  version: number;
  config: unknown;
  updated_at_ms: number;
}

// Times leave the database as float8: it is a JavaScript number with every driver.
const FIND_API_KEY = `
  SELECT k.id, k.tenant_id, k.subject, k.scopes, k.secret_sha256,
         (extract(epoch FROM k.expires_at) * 1000)::float8 AS expires_at_ms,
         (extract(epoch FROM k.revoked_at) * 1000)::float8 AS revoked_at_ms,
         k.limits, t.limits AS tenant_limits
    FROM api_keys k JOIN tenants t ON t.id = k.tenant_id
   WHERE k.id = $1`;

const FIND_TENANT = `SELECT id, name, limits FROM tenants WHERE id = $1`;

const AGENT_COLUMNS = `
  tenant_id, id, name, description, version, config,
  (extract(epoch FROM updated_at) * 1000)::float8 AS updated_at_ms`;

const FIND_AGENT = `
  SELECT ${AGENT_COLUMNS} FROM agents
   WHERE tenant_id = $1 AND id = $2 AND deleted_at IS NULL`;

const LIST_AGENTS = `
  SELECT ${AGENT_COLUMNS} FROM agents
   WHERE tenant_id = $1 AND deleted_at IS NULL
   ORDER BY id COLLATE "C"
   LIMIT ${AGENTS_LISTED_MAX}`;

/**
 * {@link Directory} over SQL. A stored agent whose configuration does not validate harms nobody else: looked up
 * by itself it is `failed_precondition` with the problem, in a list it is left out and reported.
 */
export class SqlDirectory implements Directory {
  readonly #client: SqlClient;
  readonly #onInvalid: (agent: InvalidAgent) => void;

  /** @param onInvalid called for every agent that a list leaves out, each time */
  constructor(client: SqlClient, onInvalid: (agent: InvalidAgent) => void) {
    this.#client = client;
    this.#onInvalid = onInvalid;
  }

  async findApiKey(keyId: string, signal?: AbortSignal): Promise<ApiKeyRecord | undefined> {
    const [row] = await this.#client.query<ApiKeyRow>(FIND_API_KEY, [keyId], signal);
    if (!row) return undefined;
    return {
      keyId: row.id,
      tenantId: row.tenant_id,
      subject: row.subject,
      scopes: row.scopes,
      secretSha256: row.secret_sha256,
      expiresAtMs: row.expires_at_ms ?? undefined,
      revokedAtMs: row.revoked_at_ms ?? undefined,
      limits: readLimits(keyLimitsSchema, row.limits),
      tenantLimits: readLimits(tenantLimitsSchema, row.tenant_limits),
    };
  }

  async findTenant(tenantId: string, signal?: AbortSignal): Promise<Tenant | undefined> {
    if (!IDENTIFIER_PATTERN.test(tenantId)) return undefined;
    const [row] = await this.#client.query<TenantRow>(FIND_TENANT, [tenantId], signal);
    return row && { id: row.id, name: row.name, limits: readLimits(tenantLimitsSchema, row.limits) };
  }

  async findAgent(tenantId: string, agentId: string, signal?: AbortSignal): Promise<Agent | undefined> {
    // Callers choose the id; what cannot be one (a NUL, for instance, which PostgreSQL refuses) is not there.
    if (!IDENTIFIER_PATTERN.test(agentId)) return undefined;
    const [row] = await this.#client.query<AgentRow>(FIND_AGENT, [tenantId, agentId], signal);
    if (!row) return undefined;
    const read = readAgent(row);
    if (read.ok) return read.agent;
    throw new ParleyError(
      "failed_precondition",
      `agent "${agentId}" has an invalid configuration: ${read.problem}`,
      { reason: "invalid-agent" },
    );
  }

  async listAgents(tenantId: string, signal?: AbortSignal): Promise<readonly Agent[]> {
    const rows = await this.#client.query<AgentRow>(LIST_AGENTS, [tenantId], signal);
    const agents: Agent[] = [];
    for (const row of rows) {
      const read = readAgent(row);
      if (read.ok) agents.push(read.agent);
      else this.#onInvalid({ tenantId: row.tenant_id, agentId: row.id, problem: read.problem });
    }
    return agents;
  }
}

/** Stored limits that do not validate count as not set: the tenant's, or the defaults, hold instead. */
function readLimits<Schema extends z.ZodType>(schema: Schema, stored: unknown): z.output<Schema> | object {
  const limits = schema.safeParse(stored);
  return limits.success ? limits.data : {};
}

function readAgent(row: AgentRow): { ok: true; agent: Agent } | { ok: false; problem: string } {
  const config = agentConfigSchema.safeParse(row.config);
  if (!config.success) return { ok: false, problem: problemOf(config.error) };
  return {
    ok: true,
    agent: {
      tenantId: row.tenant_id,
      id: row.id,
      name: row.name,
      description: row.description,
      version: row.version,
      config: config.data,
      updatedAtMs: row.updated_at_ms,
    },
  };
}

/** All problems on one line, each with its place. */
function problemOf(error: z.ZodError): string {
  return error.issues
    .map(({ path, message }) => `${path.length > 0 ? path.join(".") : "config"}: ${message}`)
    .join("; ");
}
