/** A request, as the backend's client wants it, and what its log line keeps of the reply. */
import type { Context } from "hono";
import type { A2AMessage } from "../../proto/gen/parley/v1/agent_service_pb.js";
import type { BackendCall } from "../backend/agent-backend.ts";
import type { AccessRecord } from "./access-record.ts";
import type { EdgeEnv } from "./edge-env.ts";

/** Behind `authenticate`: the call has what is left of the request's time, and ends with it. */
export function backendCall(c: Context<EdgeEnv>): BackendCall {
  return {
    principal: c.get("principal"),
    requestId: c.get("requestId"),
    trace: c.get("trace"),
    deadline: c.get("deadline"),
    signal: c.get("abort").signal,
    onAttempt: (backend, attempts) => c.get("access").add({ backend, attempts }),
  };
}

/** Which model replied, and whether in its place something lesser did. */
export function noteReply(access: AccessRecord, { metadata }: A2AMessage): void {
  const model = metadata?.["model"];
  const degraded = metadata?.["degraded"];
  if (typeof model === "string") access.add({ model });
  if (typeof degraded === "string") access.add({ degraded });
}
