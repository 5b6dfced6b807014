/**
 * `/api/v1/agents`: the agents that the caller can reach and, for those who may change them, their configuration.
 * Callers that only talk to agents are answered from the directory's cache and see no prompt; those with
 * `agents:write` read what is stored now, because they go on to change it.
 */
import type { Context } from "hono";
import * as agents from "../../core/administration/agents.ts";
import type { Agent } from "../../core/directory/agent.ts";
import { findReachableAgent } from "../routing/find-reachable-agent.ts";
import { administrationCall } from "./administration-call.ts";
import type { EdgeEnv } from "./edge-env.ts";
import { entityTag, expectedVersion, readJsonBody } from "./read-input.ts";

/** What callers see of an agent: not its prompt, not its tenant. */
interface AgentView {
  id: string;
  name: string;
  description: string;
  kind: string;
  version: number;
  /** `provider/model`, in the order in which they are tried; agents without models have none. */
  models?: string[];
}

/** All agents of the caller's tenant, by id. */
export async function listAgents(c: Context<EdgeEnv>): Promise<Response> {
  const { directory } = c.get("composition");
  const found = await directory.listAgents(c.get("principal").tenantId, c.get("abort").signal);
  return c.json({ agents: found.map(agentView) });
}

/** One agent of the caller's tenant. */
export async function getAgent(c: Context<EdgeEnv>): Promise<Response> {
  const { directory } = c.get("composition");
  const { tenantId, scopes } = c.get("principal");
  const id = agentId(c);
  if (scopes.includes("agents:write")) {
    return answerVersion(c, await agents.readAgent(administrationCall(c), id));
  }
  const agent = await findReachableAgent(directory, tenantId, id, c.get("abort").signal);
  c.get("access").add({ agentId: agent.id });
  return c.json(agentView(agent));
}

/** Makes an agent: 201. */
export async function postAgent(c: Context<EdgeEnv>): Promise<Response> {
  const agent = await agents.createAgent(administrationCall(c), await readJsonBody(c));
  forget(c, agent.id);
  c.header("Location", `/api/v1/agents/${agent.id}`);
  return answerVersion(c, agent, 201);
}

/** Replaces an agent. */
export async function putAgent(c: Context<EdgeEnv>): Promise<Response> {
  const body = await readJsonBody(c);
  const agent = await agents.replaceAgent(administrationCall(c), agentId(c), body, expectedVersion(c));
  forget(c, agent.id);
  return answerVersion(c, agent);
}

/** Changes parts of an agent. */
export async function patchAgent(c: Context<EdgeEnv>): Promise<Response> {
  const patch = await readJsonBody(c);
  const agent = await agents.patchAgent(administrationCall(c), agentId(c), patch, expectedVersion(c));
  forget(c, agent.id);
  return answerVersion(c, agent);
}

/** Deletes an agent: 204. */
export async function deleteAgent(c: Context<EdgeEnv>): Promise<Response> {
  const id = agentId(c);
  await agents.deleteAgent(administrationCall(c), id, expectedVersion(c));
  forget(c, id);
  return c.body(null, 204);
}

/** Every version of an agent, newest first. */
export async function listAgentVersions(c: Context<EdgeEnv>): Promise<Response> {
  return c.json({ versions: await agents.listAgentVersions(administrationCall(c), agentId(c)) });
}

function agentId(c: Context<EdgeEnv>): string {
  return c.req.param("id") ?? "";
}

function answerVersion(c: Context<EdgeEnv>, agent: agents.AgentVersion, status: 200 | 201 = 200): Response {
  c.get("access").add({ agentId: agent.id });
  c.header("ETag", entityTag(agent.version));
  return c.json(agent, status);
}

/** This isolate sees the change at once, the others when their cached copy is no longer fresh. */
function forget(c: Context<EdgeEnv>, id: string): void {
  c.get("composition").directoryCache?.forgetAgent(c.get("principal").tenantId, id);
}

function agentView({ id, name, description, version, config }: Agent): AgentView {
  const view: AgentView = { id, name, description, kind: config.kind, version };
  if (config.kind === "model") {
    view.models = config.models.map(({ provider, model }) => `${provider}/${model}`);
  }
  return view;
}
