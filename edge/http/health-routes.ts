/** `/healthz`: the Worker runs; touches nothing. `/readyz`: what it depends on answers. */
import type { Context } from "hono";
import type { EdgeEnv } from "./edge-env.ts";

/** Always ok, also when the configuration is not. */
export function getHealth(c: Context<EdgeEnv>): Response {
  return c.json({ status: "ok" });
}

/** 200 when messages can be answered, else 503; the state of each dependency either way. */
export async function getReadiness(c: Context<EdgeEnv>): Promise<Response> {
  const { ready, dependencies } = await c.get("composition").readiness.check();
  const failing = dependencies.flatMap(({ name, status }) => (status === "ok" ? [] : [name]));
  if (failing.length > 0) c.get("access").add({ failing });
  return c.json({ status: ready ? "ready" : "unready", dependencies }, ready ? 200 : 503);
}
