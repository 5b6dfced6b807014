/** Finds an agent by its id, in the same words for one that there is not and one of another tenant. */
import { type Agent, IDENTIFIER_PATTERN } from "../../core/directory/agent.ts";
import type { Directory } from "../../core/directory/directory.ts";
import { ParleyError } from "../../core/errors/parley-error.ts";

/** Longest part of an unknown id that an error repeats: as long as an id can be. */
const ID_CHARACTERS_MAX = 64;

/**
 * @throws ParleyError `not_found` when the tenant has no such agent; texts that cannot be an id are not looked up
 */
export async function findReachableAgent(
  directory: Directory,
  tenantId: string,
  agentId: string,
  signal: AbortSignal,
): Promise<Agent> {
  const agent = IDENTIFIER_PATTERN.test(agentId)
    ? await directory.findAgent(tenantId, agentId, signal)
    : undefined;
  if (agent) return agent;
  const shown = agentId.slice(0, ID_CHARACTERS_MAX);
  throw new ParleyError("not_found", `no agent "${shown}"; GET /api/v1/agents lists those you can reach`);
}
