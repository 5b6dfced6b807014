/** A message → who takes it. */
import type { Principal } from "../../core/auth/principal.ts";
import type { Agent } from "../../core/directory/agent.ts";
import type { Directory } from "../../core/directory/directory.ts";
import type { A2AMessage } from "../../proto/gen/parley/v1/agent_service_pb.js";
import { findPeer } from "./find-peer.ts";
import { findAgent, findReachableAgent } from "./find-reachable-agent.ts";

/** Who takes a message. */
export interface Route {
  /**
   * - `backend`: an agent that runs there;
   * - `peer`: an agent that connects by itself;
   * - `reply`: maybe whoever asked the peer that sends it; only the peer's mailbox knows.
   */
  target: "backend" | "peer" | "reply";
  /** Who answers; where a reply goes to a caller that is no agent, the peer that sends it. */
  agent: Agent;
}

/**
 * @param receiverId as the sender gave it
 * @throws ParleyError `not_found`, in the same words for unknown agents and those of other tenants
 */
export async function routeToAgent(
  directory: Directory,
  tenantId: string,
  receiverId: string,
  signal: AbortSignal,
): Promise<Route> {
  const agent = await findReachableAgent(directory, tenantId, receiverId, signal);
  return { target: agent.config.kind === "peer" ? "peer" : "backend", agent };
}

/** The same, for a message that may be a peer's reply: its receiver need not be an agent. */
export async function routeMessage(
  directory: Directory,
  message: A2AMessage,
  { tenantId, subject }: Principal,
  signal: AbortSignal,
): Promise<Route> {
  const replying =
    message.inReplyTo === "" ? undefined : await findPeer(directory, tenantId, subject, signal);
  if (!replying) return routeToAgent(directory, tenantId, message.receiverId, signal);
  const receiver = await findAgent(directory, tenantId, message.receiverId, signal);
  return { target: "reply", agent: receiver ?? replying };
}
