/**
 * What a new database starts with: a tenant, three agents and, for development, a key. Seeding again changes
 * nothing that an operator has changed or deleted.
 */
import { randomBytes } from "node:crypto";
import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { generateApiKey, hashSecret, parseApiKey, verifyApiKey } from "../../core/auth/api-key.ts";
import { SCOPES } from "../../core/auth/principal.ts";
import { agentConfigSchema } from "../../core/directory/agent.ts";
import type { SqlClient } from "../../core/directory/sql-client.ts";
import { SqlDirectory } from "../../core/directory/sql-directory.ts";
import { PROJECT_COLLECTION } from "../knowledge/project-documents.ts";

/** The tenant of a deployment that needs only one. */
export const DEFAULT_TENANT_ID = "default";

const DEVELOPMENT_SUBJECT = "developer";
const DEVELOPMENT_LABEL = "development";

/** As stored: the fields that are left out get the schema's defaults when they are read. */
const AGENTS = [
  {
    id: "assistant",
    name: "Assistant",
    description: "A helpful assistant on the first language model that this deployment has.",
    config: {
      kind: "model",
      models: [{ provider: "default" }],
      systemPrompt:
        "You are a helpful assistant. Answer briefly and to the point, in the language of the question. " +
        "Say so when you do not know.",
      presetReply:
        "No language model is answering me. If none is set up yet, set OPENAI_API_KEY or OPENAI_BASE_URL, or " +
        "start Ollama; if one is, please try again in a little while. Meanwhile, the agent `guide` answers " +
        "questions about Parley from its documents.",
    },
  },
  {
    id: "echo",
    name: "Echo",
    description: "Says again what it is told. Needs no language model.",
    config: { kind: "echo" },
  },
  {
    id: "guide",
    name: "Guide",
    description: "Answers questions about Parley with passages of its documents. Needs no language model.",
    config: {
      kind: "model",
      models: [{ provider: "builtin", model: "extractive" }],
      knowledge: { collection: PROJECT_COLLECTION },
      presetReply: "Please ask in other words, or look into the folder `docs` of Parley yourself.",
    },
  },
] as const;

const INSERT_TENANT = "INSERT INTO tenants (id, name) VALUES ($1, $2) ON CONFLICT DO NOTHING";

const INSERT_AGENT = `
  INSERT INTO agents (tenant_id, id, name, description, config)
  VALUES ($1, $2, $3, $4, $5::jsonb) ON CONFLICT DO NOTHING`;

/** One statement, so that there is never more than one development key. */
const REPLACE_DEVELOPMENT_KEY = `
  WITH revoked AS (
    UPDATE api_keys SET revoked_at = now()
     WHERE tenant_id = $2 AND subject = $3 AND label = $4 AND revoked_at IS NULL
  )
  INSERT INTO api_keys (id, tenant_id, subject, label, scopes, secret_sha256)
  VALUES ($1, $2, $3, $4, $5, $6)`;

/** A key that was made by an earlier version gets the scopes that came since. */
const COMPLETE_DEVELOPMENT_KEY = `
  UPDATE api_keys SET scopes = $5
   WHERE id = $1 AND tenant_id = $2 AND subject = $3 AND label = $4 AND NOT scopes @> $5::text[]`;

/** Adds the default tenant and its agents where they never were. */
export async function seedDirectory(client: SqlClient): Promise<void> {
  await client.query(INSERT_TENANT, [DEFAULT_TENANT_ID, "Default"]);
  for (const { id, name, description, config } of AGENTS) {
    agentConfigSchema.parse(config);
    await client.query(INSERT_AGENT, [DEFAULT_TENANT_ID, id, name, description, JSON.stringify(config)]);
  }
}

/** The development key. */
export interface DevelopmentKey {
  /** The whole key: a secret, to be shown to the developer only. */
  readonly text: string;
  /** Whether this start made it. */
  readonly isNew: boolean;
}

/**
 * Sees to it that the file holds a valid key of the default tenant with every scope. A key that verifies is
 * kept; otherwise a new one is made and written (mode 0600, all at once), and the previous one is revoked. Not
 * for production.
 */
export async function seedDevelopmentKey(
  client: SqlClient,
  keyFile: string,
  nowMs: number,
): Promise<DevelopmentKey> {
  const present = await readKeyFile(keyFile);
  if (present !== undefined && (await isUsable(client, present, nowMs))) {
    const { keyId } = parseApiKey(present) ?? { keyId: "" };
    const identity = [keyId, DEFAULT_TENANT_ID, DEVELOPMENT_SUBJECT, DEVELOPMENT_LABEL];
    await client.query(COMPLETE_DEVELOPMENT_KEY, [...identity, SCOPES]);
    return { text: present, isNew: false };
  }

  const key = generateApiKey((bytes) => crypto.getRandomValues(bytes));
  await client.query(REPLACE_DEVELOPMENT_KEY, [
    key.keyId,
    DEFAULT_TENANT_ID,
    DEVELOPMENT_SUBJECT,
    DEVELOPMENT_LABEL,
    SCOPES,
    await hashSecret(key.secret),
  ]);
  await writeKeyFile(keyFile, key.text);
  return { text: key.text, isNew: true };
}

async function isUsable(client: SqlClient, text: string, nowMs: number): Promise<boolean> {
  const presented = parseApiKey(text);
  if (!presented) return false;
  const record = await new SqlDirectory(client, () => undefined).findApiKey(presented.keyId);
  const verification = await verifyApiKey(presented, record, nowMs);
  return verification.ok && verification.principal.tenantId === DEFAULT_TENANT_ID;
}

async function readKeyFile(keyFile: string): Promise<string | undefined> {
  try {
    return (await readFile(keyFile, "utf8")).trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

async function writeKeyFile(keyFile: string, text: string): Promise<void> {
  await mkdir(dirname(keyFile), { recursive: true, mode: 0o700 });
  const unfinished = `${keyFile}.${randomBytes(6).toString("hex")}`;
  try {
    await writeFile(unfinished, `${text}\n`, { mode: 0o600, flag: "wx" });
    await rename(unfinished, keyFile);
  } catch (error) {
    await rm(unfinished, { force: true });
    throw error;
  }
}
