/** `GET /api/v1/agents` and `GET /api/v1/agents/{id}`: the agents that the caller can reach. */
import type { Context } from "hono";
import type { Agent } from "../../core/directory/agent.ts";
import { findReachableAgent } from "../routing/find-reachable-agent.ts";
import type { EdgeEnv } from "./edge-env.ts";

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
  const agents = await directory.listAgents(c.get("principal").tenantId, c.get("abort").signal);
  return c.json({ agents: agents.map(agentView) });
}

/** One agent of the caller's tenant. */
export async function getAgent(c: Context<EdgeEnv>): Promise<Response> {
  const { directory } = c.get("composition");
  const id = c.req.param("id") ?? "";
  const agent = await findReachableAgent(directory, c.get("principal").tenantId, id, c.get("abort").signal);
  c.get("access").add({ agentId: agent.id });
  return c.json(agentView(agent));
}

function agentView({ id, name, description, version, config }: Agent): AgentView {
  const view: AgentView = { id, name, description, kind: config.kind, version };
  if (config.kind === "model") {
    view.models = config.models.map(({ provider, model }) => `${provider}/${model}`);
  }
  return view;
}
