/** Receiver → who answers. */
import type { Agent } from "../../core/directory/agent.ts";
import type { Directory } from "../../core/directory/directory.ts";
import { findReachableAgent } from "./find-reachable-agent.ts";

/** Who answers a message. */
export interface Route {
  /** An agent that runs on the backend. */
  target: "backend";
  agent: Agent;
}

/**
 * @param receiverId as the sender gave it
 * @throws ParleyError `not_found`, in the same words for unknown agents and those of other tenants
 */
export async function routeMessage(
  directory: Directory,
  tenantId: string,
  receiverId: string,
  signal: AbortSignal,
): Promise<Route> {
  const agent = await findReachableAgent(directory, tenantId, receiverId, signal);
  switch (agent.config.kind) {
    case "model":
    case "echo":
      return { target: "backend", agent };
  }
}
