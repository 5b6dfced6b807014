/** What the headers of an answer say of the reply in it. */
import type { Context } from "hono";
import type { A2AMessage } from "../../proto/gen/parley/v1/agent_service_pb.js";
import type { EdgeEnv } from "./edge-env.ts";

/** What may stand in a header: visible ASCII and spaces. */
const HEADER_TEXT = /^[\x20-\x7e]{1,200}$/;

const HEADERS = { "Parley-Model": "model", "Parley-Degraded": "degraded" } as const;

/** Which model replied, and what stands in for a reply. */
export function setReplyHeaders(c: Context<EdgeEnv>, { metadata }: A2AMessage): void {
  for (const [header, field] of Object.entries(HEADERS)) {
    const value = metadata?.[field];
    if (typeof value === "string" && HEADER_TEXT.test(value)) c.header(header, value);
  }
}
