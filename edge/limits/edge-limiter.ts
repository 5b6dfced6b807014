/**
 * The edge's limiters: Upstash where it is configured, Durable Objects where the binding is, and the isolate's own
 * memory when all else fails: then limits hold in each isolate, and requests go on.
 */
import { composeLimiter } from "../../core/limits/compose-limiter.ts";
import type { LimiterEvent, ProbedLimiter } from "../../core/limits/fallback-limiter.ts";
import type { Limiter } from "../../core/limits/limiter.ts";
import { NoLimiter } from "../../core/limits/no-limiter.ts";
import { UpstashLimiter } from "../../core/limits/upstash-limiter.ts";
import type { EdgeConfig } from "../env.ts";
import { jsonLine } from "../http/json-line.ts";
import { DurableObjectLimiter, type LimiterNamespace } from "./durable-object-limiter.ts";

/** @param env the Worker's bindings; LIMITER among them when it has Durable Objects */
export function createEdgeLimiter(
  config: EdgeConfig,
  env: object,
  writeLine: (line: string) => void,
): Limiter {
  if (!config.limitsEnabled) return new NoLimiter();
  const limiters: ProbedLimiter[] = [];
  if (config.upstash) limiters.push(new UpstashLimiter({ ...config.upstash, now: Date.now }));
  if ("LIMITER" in env) limiters.push(new DurableObjectLimiter(env.LIMITER as LimiterNamespace));
  return composeLimiter(limiters, Date.now, (event) => writeLine(jsonLine(lineOf(event))));
}

function lineOf({ limiter, state, error }: LimiterEvent): object {
  const level = state === "recovered" ? "info" : "warn";
  const time = new Date().toISOString();
  const err = error === undefined ? undefined : { message: String(error) };
  return { level, time, msg: `limiter ${state}`, limiter, err };
}
