/** The shapes of answers, for `/openapi.json`; the compiler holds each to the type that the route returns. */
import * as z from "zod";
import type { AgentVersion } from "../../core/administration/agents.ts";
import type { AuditEntry } from "../../core/administration/audit.ts";
import type { KeyView, NewKeyView } from "../../core/administration/key-document.ts";
import type { TenantView } from "../../core/administration/tenants.ts";
import { agentConfigSchema } from "../../core/directory/agent.ts";
import { ERROR_CODES, type JsonValue } from "../../core/errors/parley-error.ts";
import type { LoggedMessage } from "../../core/log/message-search.ts";

const time = z.iso.datetime();
const count = z.number();
const json = z.unknown() as z.ZodType<JsonValue>;

/** An agent as callers see it who only talk to it. */
const agentSummarySchema = z.object({
  id: z.string(),
  name: z.string(),
  description: z.string(),
  kind: z.string(),
  version: z.int(),
  models: z.array(z.string()).optional(),
});

/** An agent with its configuration, as it was written. */
export const agentVersionSchema = z.object({
  id: z.string(),
  name: z.string(),
  description: z.string(),
  version: z.int(),
  config: agentConfigSchema as unknown as z.ZodType<JsonValue>,
  updatedAt: time,
}) satisfies z.ZodType<AgentVersion>;

/** What `GET /api/v1/agents/{id}` answers, by the caller's scopes. */
export const agentSchema = z.union([agentSummarySchema, agentVersionSchema]);

export const agentListSchema = z.object({ agents: z.array(agentSummarySchema) });
export const agentVersionListSchema = z.object({ versions: z.array(agentVersionSchema) });

const keySchema = z.object({
  id: z.string(),
  subject: z.string(),
  label: z.string(),
  scopes: z.array(z.string()),
  limits: z.record(z.string(), z.int()),
  status: z.enum(["active", "expired", "revoked"]),
  createdAt: time,
  createdBy: z.string(),
  expiresAt: time.nullable(),
  revokedAt: time.nullable(),
  replaces: z.string().nullable(),
}) satisfies z.ZodType<KeyView>;

export const keyListSchema = z.object({ keys: z.array(keySchema) });
export const newKeyAnswerSchema = keySchema.extend({
  key: z.string().describe("The whole key, a secret: shown this once"),
}) satisfies z.ZodType<NewKeyView>;

export const tenantSchema = z.object({
  id: z.string(),
  name: z.string(),
  limits: z.record(z.string(), z.int()),
  retentionDays: z.int().nullable(),
  createdAt: time,
  updatedAt: time,
}) satisfies z.ZodType<TenantView>;

export const tenantListSchema = z.object({
  tenants: z.array(tenantSchema),
  nextCursor: z.string().optional(),
});

const auditEntrySchema = z.object({
  tenantId: z.string(),
  at: time,
  actor: z.string(),
  actorKeyId: z.string(),
  action: z.string(),
  targetKind: z.string(),
  targetId: z.string(),
  details: z.looseObject({}),
  requestId: z.string(),
  address: z.string(),
}) satisfies z.ZodType<AuditEntry>;

export const auditListSchema = z.object({
  entries: z.array(auditEntrySchema),
  nextCursor: z.string().optional(),
});

const usageRowSchema = z.object({
  day: z.iso.date().optional(),
  agentId: z.string().optional(),
  model: z.string().nullable().optional(),
  keyId: z.string().nullable().optional(),
  messages: count,
  replies: count,
  degraded: count,
  cached: count,
  errors: count,
  inputTokens: count,
  outputTokens: count,
  estimatedInputTokens: count,
  estimatedOutputTokens: count,
  summaryInputTokens: count,
  summaryOutputTokens: count,
  failedAttempts: count,
  failedInputTokens: count,
  failedOutputTokens: count,
  abandonedAttempts: count,
  abandonedInputTokens: count,
  abandonedOutputTokens: count,
});

export const usageSchema = z.object({ from: time, to: time, usage: z.array(usageRowSchema) });

const text = z.string().nullable();
const loggedMessageSchema = z.object({
  messageId: z.string(),
  taskId: z.string(),
  contextId: z.string(),
  senderId: z.string(),
  receiverId: z.string(),
  inReplyTo: text,
  role: z.enum(["user", "agent"]),
  content: json,
  metadata: z.record(z.string(), json).nullable(),
  model: text,
  degraded: text,
  inputTokens: count.nullable(),
  outputTokens: count.nullable(),
  usageEstimated: z.boolean().nullable(),
  durationMs: count.nullable(),
  requestId: text,
  errorCode: text,
  keyId: text,
  agentVersion: count.nullable(),
  createdAtMs: count,
}) satisfies z.ZodType<LoggedMessage>;

export const messagePageSchema = z.object({
  messages: z.array(loggedMessageSchema),
  nextCursor: z.string().optional(),
});

/** The envelope; its full definition is `parley.v1.A2AMessage` in the proto contract, as ProtoJSON. */
export const envelopeSchema = z
  .looseObject({
    receiverId: z.string().optional().describe("The agent, required in a message to one"),
    text: z.string().optional().describe("Shorthand for content with one text part"),
    messageId: z.string().optional(),
    senderId: z.string().optional(),
    contextId: z.string().optional(),
    taskId: z.string().optional(),
    inReplyTo: z.string().optional(),
    metadata: z.looseObject({}).optional(),
    content: z.looseObject({}).optional(),
  })
  .describe("parley.v1.A2AMessage as ProtoJSON");

/** A task; its full definition is `lf.a2a.v1.Task` in the proto contract, as ProtoJSON. */
export const taskSchema = z
  .looseObject({
    id: z.string(),
    contextId: z.string().optional(),
    status: z.looseObject({ state: z.string(), timestamp: time.optional() }),
    artifacts: z.array(z.looseObject({})).optional(),
    history: z.array(z.looseObject({})).optional(),
    metadata: z
      .looseObject({ sequence: count.describe("The position of the task's newest event") })
      .optional(),
  })
  .describe("lf.a2a.v1.Task as ProtoJSON");

/** Where to follow a task from. */
export const taskPositionSchema = z.object({
  after: z.int().min(0).optional().describe("The sequence of the last event that the caller has"),
});

/** OpenAI's `chat.completion`. */
export const completionSchema = z.looseObject({
  id: z.string(),
  object: z.literal("chat.completion"),
  created: z.int(),
  model: z.string().describe("The agent"),
  choices: z.array(z.looseObject({ index: z.int(), message: z.looseObject({}), finish_reason: z.string() })),
  usage: z.looseObject({ prompt_tokens: count, completion_tokens: count, total_tokens: count }),
  parley: z.looseObject({
    taskId: z.string(),
    model: z.string().optional().describe("The language model that answered"),
    degraded: z.string().optional(),
  }),
});

export const modelSchema = z.object({
  id: z.string(),
  object: z.literal("model"),
  created: z.int(),
  owned_by: z.string(),
  name: z.string(),
  description: z.string(),
});

export const modelListSchema = z.object({ object: z.literal("list"), data: z.array(modelSchema) });

export const healthSchema = z.object({ status: z.literal("ok") });
export const readinessSchema = z.object({
  status: z.enum(["ready", "unready"]),
  dependencies: z.array(z.looseObject({ name: z.string(), status: z.enum(["ok", "failing"]) })),
});

/** The body of every failure. */
export const errorSchema = z.object({
  error: z.object({
    code: z.enum(ERROR_CODES),
    message: z.string(),
    requestId: z.string(),
    reason: z.string().optional(),
    retryAfterSeconds: z.int().optional(),
    details: z.looseObject({}).optional(),
  }),
});
