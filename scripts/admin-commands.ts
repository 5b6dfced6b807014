/** Every command of the operators' command line: the operations of `core/administration` under short names. */
import { readFileSync } from "node:fs";
import type { AdministrationCall } from "../core/administration/actor.ts";
import { isSameJson } from "../core/administration/agent-document.ts";
import * as agents from "../core/administration/agents.ts";
import { listAudit } from "../core/administration/audit.ts";
import * as keys from "../core/administration/keys.ts";
import * as tenants from "../core/administration/tenants.ts";
import { validate } from "../core/administration/violations.ts";
import type { RandomBytes } from "../core/auth/api-key.ts";
import { SCOPES } from "../core/auth/principal.ts";
import { ParleyError } from "../core/errors/parley-error.ts";
import {
  messageQuerySchema,
  toMessageSearch,
  toUsageQuery,
  usageQuerySchema,
} from "../core/log/log-queries.ts";
import { searchMessages } from "../core/log/message-search.ts";
import { readUsage } from "../core/log/usage.ts";
import {
  type AdminCommand,
  given,
  type OptionValues,
  readDurationMs,
  readNumber,
  UsageError,
} from "./admin-command.ts";

const LIMITS = ["requests-per-minute", "tokens-per-minute"] as const;
const random: RandomBytes = (bytes) => crypto.getRandomValues(bytes);

/** By name; the order is that of the help. */
export const ADMIN_COMMANDS: Readonly<Record<string, AdminCommand>> = {
  "key create": {
    usage:
      "--subject NAME --scopes a,b|all [--label TEXT] [--expires 30d] [--requests-per-minute N] [--tokens-per-minute N]",
    summary: "make an API key; its secret is shown this once",
    positionals: [],
    options: ["subject", "scopes", "label", "expires", ...LIMITS],
    required: ["subject", "scopes"],
    run: (call, options) => {
      const { subject, scopes = "", label, expires } = options;
      const input = given({
        subject,
        label,
        scopes: scopes === "all" ? SCOPES : scopes.split(",").map((scope) => scope.trim()),
        expiresAt: expires && inFuture("expires", expires),
        limits: limitsOf(options),
      });
      return keys.createKey(call, input, random, Date.now());
    },
  },
  "key list": {
    usage: "",
    summary: "the tenant's keys, without secrets",
    positionals: [],
    options: [],
    run: async (call) => ({ keys: await keys.listKeys(call) }),
  },
  "key rotate": {
    usage: "ID [--overlap 24h] [--expires 30d]",
    summary: "make a new key in place of one that works on for the overlap",
    positionals: ["ID"],
    options: ["overlap", "expires"],
    run: (call, { overlap, expires }, [id = ""]) => {
      const input = given({
        overlapSeconds: overlap && readDurationMs("overlap", overlap) / 1000,
        expiresAt: expires && inFuture("expires", expires),
      });
      return keys.rotateKey(call, id, input, random, Date.now());
    },
  },
  "key revoke": {
    usage: "ID",
    summary: "end a key; refused everywhere within 60 s",
    positionals: ["ID"],
    options: [],
    run: async (call, _, [id = ""]) => {
      await keys.revokeKey(call, id);
      return { id, status: "revoked" };
    },
  },
  "agent list": {
    usage: "",
    summary: "the tenant's agents",
    positionals: [],
    options: [],
    run: async (call) => ({ agents: await agents.listAgents(call) }),
  },
  "agent show": {
    usage: "ID",
    summary: "one agent with its configuration; with --json as `agent apply` takes it",
    positionals: ["ID"],
    options: [],
    run: (call, _, [id = ""]) => agents.readAgent(call, id),
  },
  "agent apply": {
    usage: "FILE",
    summary: "make or replace the agents of a JSON file, one or a list; - reads standard input",
    positionals: ["FILE"],
    options: [],
    run: async (call, _, [file = ""]) => {
      const documents: unknown = readJsonFile(file);
      const applied: object[] = [];
      for (const document of Array.isArray(documents) ? documents : [documents]) {
        applied.push(await applyAgent(call, document));
      }
      return { agents: applied };
    },
  },
  "agent delete": {
    usage: "ID",
    summary: "delete an agent; its id stays taken",
    positionals: ["ID"],
    options: [],
    run: async (call, _, [id = ""]) => {
      await agents.deleteAgent(call, id);
      return { id, status: "deleted" };
    },
  },
  "tenant create": {
    usage: "ID --name TEXT [--retention-days N]",
    summary: "make a tenant",
    positionals: ["ID"],
    options: ["name", "retention-days"],
    required: ["name"],
    run: (call, options, [id]) =>
      tenants.createTenant(call, given({ id, name: options["name"], ...retentionOf(options) })),
  },
  "tenant list": {
    usage: "[--cursor C]",
    summary: "every tenant, a page at a time",
    positionals: [],
    options: ["cursor"],
    run: (call, options) => tenants.listTenants(call, given({ ...options })),
  },
  "tenant set-limits": {
    usage:
      "ID [--requests-per-minute N|default] [--tokens-per-minute N|default] [--tenant-tokens-per-minute N|default] [--retention-days N|forever]",
    summary: "change a tenant's limits and how long its messages are kept",
    positionals: ["ID"],
    options: [...LIMITS, "tenant-tokens-per-minute", "retention-days"],
    run: (call, options, [id = ""]) =>
      tenants.patchTenant(call, id, given({ limits: limitsOf(options), ...retentionOf(options) })),
  },
  usage: {
    usage: "[--from 2026-11-01] [--to DATE] [--by day,agent,model,key]",
    summary: "messages and tokens, counted; the last 30 days by day",
    positionals: [],
    options: ["from", "to", "by"],
    run: async ({ sql, actor, signal }, { from, to, by }) => {
      const query = validate(usageQuerySchema, given({ from, to, groupBy: by }));
      return { usage: await readUsage(sql, toUsageQuery(actor.tenantId, query, Date.now()), signal) };
    },
  },
  messages: {
    usage:
      "[--context ID] [--agent ID] [--sender ID] [--from TIME] [--to TIME] [--order oldest-first] [--limit N] [--cursor C]",
    summary: "search messages and replies, newest first",
    positionals: [],
    options: ["context", "agent", "sender", "from", "to", "order", "limit", "cursor"],
    run: ({ sql, actor, signal }, options) => {
      const query = validate(messageQuerySchema, given({ ...options }));
      return searchMessages(sql, toMessageSearch(actor.tenantId, query), signal);
    },
  },
  audit: {
    usage: "[--target-kind agent|key|tenant|document|collection] [--target-id ID] [--limit N] [--cursor C]",
    summary: "who changed what, when and from where, newest first",
    positionals: [],
    options: ["target-kind", "target-id", "limit", "cursor"],
    run: (call, { limit, cursor, ...target }) =>
      listAudit(
        call,
        given({ limit, cursor, targetKind: target["target-kind"], targetId: target["target-id"] }),
      ),
  },
};

/** Replaces the agent if it is there and differs; otherwise makes it, or leaves it as it is. */
async function applyAgent(call: AdministrationCall, document: unknown): Promise<object> {
  // What `agent show --json` prints can be applied again, with the two fields that are not the operator's.
  const { version: _, updatedAt: __, ...wanted } = (document ?? {}) as Record<string, unknown>;
  const { id, ...replacement } = wanted;
  const { name, description = "", config } = replacement;
  const present = typeof id === "string" ? await findAgent(call, id) : undefined;
  if (!present) {
    const created = await agents.createAgent(call, wanted);
    return { id, version: created.version, status: "created" };
  }
  const { name: oldName, description: oldDescription, config: oldConfig, version } = present;
  if (isSameJson([name, description, config], [oldName, oldDescription, oldConfig])) {
    return { id, version, status: "unchanged" };
  }
  const changed = await agents.replaceAgent(call, present.id, replacement, version);
  return { id, version: changed.version, status: "replaced" };
}

async function findAgent(call: AdministrationCall, id: string): Promise<agents.AgentVersion | undefined> {
  try {
    return await agents.readAgent(call, id);
  } catch (error) {
    if (error instanceof ParleyError && error.code === "not_found") return undefined;
    throw error;
  }
}

function readJsonFile(file: string): unknown {
  try {
    return JSON.parse(readFileSync(file === "-" ? 0 : file, "utf8"));
  } catch (error) {
    throw new UsageError(`${file} cannot be read as JSON: ${(error as Error).message}`);
  }
}

function inFuture(option: string, text: string): string {
  return new Date(Date.now() + readDurationMs(option, text)).toISOString();
}

/** The limits among the options, `null` for `default`; undefined when there are none. */
function limitsOf(options: OptionValues): object | undefined {
  const names = {
    requestsPerMinute: "requests-per-minute",
    tokensPerMinute: "tokens-per-minute",
    tenantTokensPerMinute: "tenant-tokens-per-minute",
  };
  const limits = Object.entries(names).flatMap(([field, option]) => {
    const text = options[option];
    return text === undefined ? [] : [[field, readNumber(option, text, "default")] as const];
  });
  return limits.length === 0 ? undefined : Object.fromEntries(limits);
}

function retentionOf(options: OptionValues): { retentionDays?: number | null } {
  const text = options["retention-days"];
  return text === undefined ? {} : { retentionDays: readNumber("retention-days", text, "forever") };
}
