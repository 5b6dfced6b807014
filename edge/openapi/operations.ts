/** What `/openapi.json` says of each route. Input schemas are the ones that validate the input. */
import * as z from "zod";
import {
  agentDocumentSchema,
  agentPatchSchema,
  agentReplacementSchema,
} from "../../core/administration/agent-document.ts";
import { auditQuerySchema } from "../../core/administration/audit.ts";
import { newKeySchema, rotationSchema } from "../../core/administration/key-document.ts";
import { newTenantSchema, tenantPageSchema, tenantPatchSchema } from "../../core/administration/tenants.ts";
import { messageQuerySchema, usageQuerySchema } from "../../core/log/log-queries.ts";
import { completionRequestSchema } from "../completions/completion-request.ts";
import type { Answer, Operation } from "../http/route.ts";
import * as views from "./views.ts";

const MERGE_PATCH = "application/merge-patch+json";
const IF_MATCH = { "If-Match": 'The version that is meant, e.g. "3"; when it is another one by now, 412' };

const ok = (description: string, schema: z.ZodType): Record<number, Answer> => ({
  200: { description, schema },
});
const created = (description: string, schema: z.ZodType): Record<number, Answer> => ({
  201: { description, schema },
});
const gone: Record<number, Answer> = { 204: { description: "Done" } };

export const getHealth: Operation = {
  id: "getHealth",
  summary: "The Worker runs",
  answers: ok("It does", views.healthSchema),
};

export const getReadiness: Operation = {
  id: "getReadiness",
  summary: "Whether messages can be answered, with the state of each dependency",
  answers: {
    200: { description: "They can", schema: views.readinessSchema },
    503: { description: "They cannot", schema: views.readinessSchema },
  },
};

export const getOpenApi: Operation = {
  id: "getOpenApi",
  summary: "This document",
  answers: ok("OpenAPI 3.1", z.looseObject({ openapi: z.string() })),
};

export const postMessage: Operation = {
  id: "postMessage",
  summary: "Send a message to an agent and get its reply",
  headers: {
    "Parley-Timeout-Ms": "How long the caller waits, milliseconds",
    Prefer: "`respond-async`: answer with the task, do not wait for its reply",
  },
  body: { schema: views.envelopeSchema },
  answers: {
    200: {
      description: "The reply; with `Accept: text/event-stream` its events as they come",
      schema: views.envelopeSchema,
      mediaTypes: ["text/event-stream"],
    },
    202: { description: "The task, which goes on by itself (`Location`)", schema: views.taskSchema },
  },
};

export const getTask: Operation = {
  id: "getTask",
  summary: "A task of the caller's: its state, and its reply once there is one",
  answers: ok("The task", views.taskSchema),
};

export const getTaskEvents: Operation = {
  id: "followTask",
  summary: "The events of a task after a position, then live to its end",
  query: views.taskPositionSchema,
  headers: {
    "Last-Event-ID": "The same as `after`, of a client that connects again; it counts when both are there",
  },
  answers: {
    200: { description: "The events, each an A2AMessage", mediaType: "text/event-stream" },
    204: { description: "The task has ended at that position: there is nothing to follow" },
  },
};

export const cancelTask: Operation = {
  id: "cancelTask",
  summary: "Stop a task; one that has ended is left as it is",
  answers: ok("The task, ended", views.taskSchema),
};

export const postCompletion: Operation = {
  id: "createChatCompletion",
  summary: "OpenAI's chat completions, answered by the agent that `model` names",
  headers: {
    "Parley-Stream":
      "`hold-back`: a stream begins when the answer is whole; `live`: at once. Default the agent's",
    "Idempotency-Key": "The same key again gets the answer that there is",
  },
  body: { schema: completionRequestSchema },
  answers: {
    200: {
      description: "The completion; with `stream: true` its chunks",
      schema: views.completionSchema,
      mediaTypes: ["text/event-stream"],
    },
  },
};

export const listModels: Operation = {
  id: "listModels",
  summary: "The agents that the caller can reach, as OpenAI's models",
  answers: ok("All of them, by id", views.modelListSchema),
};

export const getModel: Operation = {
  id: "getModel",
  summary: "One agent as OpenAI's model",
  answers: ok("The model", views.modelSchema),
};

export const listAgents: Operation = {
  id: "listAgents",
  summary: "The agents that the caller can reach",
  answers: ok("All of them, by id", views.agentListSchema),
};

export const postAgent: Operation = {
  id: "createAgent",
  summary: "Make an agent",
  body: { schema: agentDocumentSchema },
  answers: created("The agent", views.agentVersionSchema),
};

export const getAgent: Operation = {
  id: "getAgent",
  summary: "One agent; with its configuration for callers with agents:write",
  answers: ok("The agent", views.agentSchema),
};

export const putAgent: Operation = {
  id: "replaceAgent",
  summary: "Replace an agent",
  headers: IF_MATCH,
  body: { schema: agentReplacementSchema },
  answers: ok("The agent as it is now", views.agentVersionSchema),
};

export const patchAgent: Operation = {
  id: "patchAgent",
  summary: "Change parts of an agent by JSON merge patch",
  headers: IF_MATCH,
  body: { schema: agentPatchSchema, mediaType: MERGE_PATCH },
  answers: ok("The agent as it is now", views.agentVersionSchema),
};

export const deleteAgent: Operation = {
  id: "deleteAgent",
  summary: "Delete an agent; its id stays taken",
  headers: IF_MATCH,
  answers: gone,
};

export const listAgentVersions: Operation = {
  id: "listAgentVersions",
  summary: "The versions that an agent has had, newest first",
  answers: ok("The versions", views.agentVersionListSchema),
};

export const listKeys: Operation = {
  id: "listKeys",
  summary: "The tenant's API keys, usable ones first, without secrets",
  answers: ok("The keys", views.keyListSchema),
};

export const postKey: Operation = {
  id: "createKey",
  summary: "Make an API key with at most the caller's own scopes",
  body: { schema: newKeySchema },
  answers: created("The key, with its secret this once", views.newKeyAnswerSchema),
};

export const rotateKey: Operation = {
  id: "rotateKey",
  summary: "Replace an API key by a new one; the old one works on for a while",
  body: { schema: rotationSchema, required: false },
  answers: created("The new key, with its secret this once", views.newKeyAnswerSchema),
};

export const deleteKey: Operation = {
  id: "revokeKey",
  summary: "End an API key; refused everywhere within 60 s",
  answers: gone,
};

export const listTenants: Operation = {
  id: "listTenants",
  summary: "Every tenant of the deployment",
  query: tenantPageSchema,
  answers: ok("A page of tenants, by id", views.tenantListSchema),
};

export const postTenant: Operation = {
  id: "createTenant",
  summary: "Make a tenant",
  body: { schema: newTenantSchema },
  answers: created("The tenant", views.tenantSchema),
};

export const getTenant: Operation = {
  id: "getTenant",
  summary: "One tenant",
  answers: ok("The tenant", views.tenantSchema),
};

export const patchTenant: Operation = {
  id: "patchTenant",
  summary: "Change name, limits or retention of a tenant by JSON merge patch",
  body: { schema: tenantPatchSchema, mediaType: MERGE_PATCH },
  answers: ok("The tenant as it is now", views.tenantSchema),
};

export const getUsage: Operation = {
  id: "getUsage",
  summary: "Messages, replies and tokens of the tenant, counted",
  query: usageQuerySchema,
  answers: ok("One row for each group", views.usageSchema),
};

export const listMessages: Operation = {
  id: "listMessages",
  summary: "Search the tenant's messages and replies",
  query: messageQuerySchema,
  answers: ok("A page of messages", views.messagePageSchema),
};

export const getAudit: Operation = {
  id: "listAudit",
  summary: "Who changed what, when and from where, newest first",
  query: auditQuerySchema,
  answers: ok("A page of changes", views.auditListSchema),
};
