/** A request of an administrator, as the operations of `core/administration` want it. */
import type { Context } from "hono";
import type { AdministrationCall } from "../../core/administration/actor.ts";
import { callerAddress } from "./caller-address.ts";
import type { EdgeEnv } from "./edge-env.ts";

/** Behind `authenticate`. The tenant is always the caller's own. */
export function administrationCall(c: Context<EdgeEnv>): AdministrationCall {
  const address = callerAddress(c);
  return {
    sql: c.get("composition").sql,
    actor: { ...c.get("principal"), requestId: c.get("requestId"), address },
    signal: c.get("abort").signal,
  };
}
