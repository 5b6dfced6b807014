/** A directory in memory, and the keys and agents that the edge's tests use. */
import { generateApiKey, hashSecret } from "../../../core/auth/api-key.ts";
import { SCOPES } from "../../../core/auth/principal.ts";
import { type Agent, agentConfigSchema } from "../../../core/directory/agent.ts";
import type { ApiKeyRecord, Directory, Tenant } from "../../../core/directory/directory.ts";
import type { SqlClient } from "../../../core/directory/sql-client.ts";
import { ParleyError } from "../../../core/errors/parley-error.ts";

/** Holds what it is given; `failing` makes it unavailable. */
export class MemoryDirectory implements Directory {
  readonly keys = new Map<string, ApiKeyRecord>();
  readonly tenants = new Map<string, Tenant>();
  readonly agents: Agent[] = [];
  failing = false;
  lookups: string[] = [];

  async findApiKey(keyId: string): Promise<ApiKeyRecord | undefined> {
    this.#lookUp(`key ${keyId}`);
    return this.keys.get(keyId);
  }

  async findTenant(tenantId: string): Promise<Tenant | undefined> {
    this.#lookUp(`tenant ${tenantId}`);
    return this.tenants.get(tenantId);
  }

  async findAgent(tenantId: string, agentId: string): Promise<Agent | undefined> {
    this.#lookUp(`agent ${agentId}`);
    return this.agents.find((agent) => agent.tenantId === tenantId && agent.id === agentId);
  }

  async listAgents(tenantId: string): Promise<readonly Agent[]> {
    this.#lookUp("agents");
    return this.agents.filter((agent) => agent.tenantId === tenantId);
  }

  /** Adds a key and returns its text. */
  async addKey(record: Partial<ApiKeyRecord> = {}): Promise<string> {
    const key = generateApiKey((bytes) => crypto.getRandomValues(bytes));
    this.keys.set(key.keyId, {
      keyId: key.keyId,
      tenantId: "default",
      subject: "alice",
      scopes: SCOPES.filter((scope) => scope !== "messages:send-as" && scope !== "agents:write"),
      secretSha256: await hashSecret(key.secret),
      expiresAtMs: undefined,
      revokedAtMs: undefined,
      limits: {},
      tenantLimits: {},
      ...record,
    });
    return key.text;
  }

  addAgent(id: string, config: unknown, tenantId = "default"): void {
    this.agents.push({
      tenantId,
      id,
      name: id,
      description: `the agent ${id}`,
      version: 1,
      config: agentConfigSchema.parse(config),
      updatedAtMs: 0,
    });
  }

  #lookUp(what: string): void {
    this.lookups.push(what);
    if (this.failing) {
      const cause = new Error("cannot reach postgres://parley:hunter2@db.example/parley");
      throw new ParleyError("unavailable", "the database cannot be reached at the moment", { cause });
    }
  }
}

/** A database with nothing in it: what tests of administration bring is a real one. */
export const emptyDatabase: SqlClient = { query: async () => [] };

/** One tenant with `assistant`, `echo`; another with `secret`. */
export function directoryWithAgents(): MemoryDirectory {
  const directory = new MemoryDirectory();
  directory.addAgent("assistant", {
    kind: "model",
    models: [{ provider: "openai", model: "small" }, { provider: "builtin" }],
    systemPrompt: "You are discreet.",
    presetReply: "Back soon.",
  });
  directory.addAgent("echo", { kind: "echo" });
  directory.addAgent("secret", { kind: "echo" }, "other");
  return directory;
}
