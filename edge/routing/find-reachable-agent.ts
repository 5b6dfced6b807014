/** Finds an agent by its id, in the same words for one that there is not and one of another tenant. */
import { agentNotFound } from "../../core/administration/agents.ts";
import { type Agent, IDENTIFIER_PATTERN } from "../../core/directory/agent.ts";
import type { Directory } from "../../core/directory/directory.ts";

/** The tenant's agent of that id, if there is one; texts that cannot be an id are not looked up. */
export async function findAgent(
  directory: Directory,
  tenantId: string,
  agentId: string,
  signal?: AbortSignal,
): Promise<Agent | undefined> {
  return IDENTIFIER_PATTERN.test(agentId) ? directory.findAgent(tenantId, agentId, signal) : undefined;
}

/**
 * @throws ParleyError `not_found` when the tenant has no such agent
 */
export async function findReachableAgent(
  directory: Directory,
  tenantId: string,
  agentId: string,
  signal: AbortSignal,
): Promise<Agent> {
  const agent = await findAgent(directory, tenantId, agentId, signal);
  if (agent) return agent;
  throw agentNotFound(agentId);
}
