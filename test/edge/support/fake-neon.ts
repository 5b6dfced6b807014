/** A Neon SQL-over-HTTP endpoint on loopback that knows one key and one agent; not a database. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { generateApiKey, hashSecret } from "../../../core/auth/api-key.ts";
import type { TenantLimits } from "../../../core/limits/limits.ts";

const TEXT = 25;
const INT4 = 23;
const FLOAT8 = 701;
const JSONB = 3802;
const TEXT_ARRAY = 1009;

/** A running endpoint. */
export interface FakeNeon {
  /** For `DATABASE_ENDPOINT`. */
  url: string;
  /** A key of `alice` in tenant `default`. */
  apiKey: string;
  /** Adds a key of `alice` in a tenant of its own limits, which can be changed. */
  addKey(
    limits?: TenantLimits,
    tenantId?: string,
    subject?: string,
  ): Promise<{ apiKey: string; keyId: string; setLimits(limits: TenantLimits): void; revoke(): void }>;
  /** Adds an agent to tenant `default`. */
  addAgent(id: string, config: object): void;
  stop(): Promise<void>;
}

/** Starts it on a free port. */
export async function startFakeNeon(): Promise<FakeNeon> {
  const keyRows = new Map<string, readonly (readonly [string, number, string | null])[]>();
  const addKey: FakeNeon["addKey"] = async (limits = {}, tenantId = "default", subject = "alice") => {
    const key = generateApiKey((bytes) => crypto.getRandomValues(bytes));
    const secretSha256 = await hashSecret(key.secret);
    const setLimits = (changed: TenantLimits, revokedAtMs: string | null = null) => {
      keyRows.set(key.keyId, [
        ["id", TEXT, key.keyId],
        ["tenant_id", TEXT, tenantId],
        ["subject", TEXT, subject],
        ["scopes", TEXT_ARRAY, "{messages:send,agents:read}"],
        ["secret_sha256", TEXT, secretSha256],
        ["expires_at_ms", FLOAT8, null],
        ["revoked_at_ms", FLOAT8, revokedAtMs],
        ["limits", JSONB, "{}"],
        ["tenant_limits", JSONB, JSON.stringify(changed)],
      ]);
    };
    setLimits(limits);
    return { apiKey: key.text, keyId: key.keyId, setLimits, revoke: () => setLimits(limits, "1") };
  };
  const { apiKey } = await addKey();
  const config = { kind: "model", models: [{ provider: "builtin" }], presetReply: "Back soon." };
  const configs = new Map<string, object>([["assistant", config]]);
  const agentRow = (id: string) =>
    [
      ["tenant_id", TEXT, "default"],
      ["id", TEXT, id],
      ["name", TEXT, id === "assistant" ? "Assistant" : id],
      ["description", TEXT, "answers"],
      ["version", INT4, "1"],
      ["config", JSONB, JSON.stringify(configs.get(id))],
      ["updated_at_ms", FLOAT8, "0"],
    ] as const;
  const tenantRow = [
    ["id", TEXT, "default"],
    ["name", TEXT, "Default"],
    ["limits", JSONB, "{}"],
  ] as const;
  const answer = (query: string, params: string[]) => {
    if (query.includes("api_keys"))
      return [keyRows.get(params[0] ?? "") ?? []].filter((row) => row.length > 0);
    if (query.includes("FROM tenants")) return params[0] === "default" ? [tenantRow] : [];
    if (query.includes("FROM agents")) {
      const ids = params[1] === undefined ? [...configs.keys()] : [params[1]];
      return ids.filter((id) => configs.has(id)).map(agentRow);
    }
    return [[["one", INT4, "1"]] as const];
  };
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const chunk of request) body += chunk;
    const { query, params } = JSON.parse(body) as { query: string; params: string[] };
    const rows = answer(query, params);
    response.setHeader("content-type", "application/json").end(
      JSON.stringify({
        command: "SELECT",
        rowCount: rows.length,
        rowAsArray: true,
        fields: (rows[0] ?? []).map(([name, dataTypeID]) => ({ name, dataTypeID })),
        rows: rows.map((row) => row.map(([, , value]) => value)),
      }),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/sql`,
    apiKey,
    addKey,
    addAgent: (id, agentConfig) => configs.set(id, agentConfig),
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
