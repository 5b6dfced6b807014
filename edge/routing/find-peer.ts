/** Whether a caller is a peer: its subject is the id of an agent of that kind. */
import type { Agent } from "../../core/directory/agent.ts";
import type { Directory } from "../../core/directory/directory.ts";
import { findAgent } from "./find-reachable-agent.ts";

/** The peer of that name; undefined for agents of other kinds and for names of no agent. */
export async function findPeer(
  directory: Directory,
  tenantId: string,
  subject: string,
  signal?: AbortSignal,
): Promise<Agent | undefined> {
  const agent = await findAgent(directory, tenantId, subject, signal);
  return agent?.config.kind === "peer" ? agent : undefined;
}
