/** The backend's limiters: Upstash where it is configured, shared with the edge; else, and while it fails, memory. */
import type { Logger } from "pino";
import { composeLimiter } from "../../core/limits/compose-limiter.ts";
import type { Limiter } from "../../core/limits/limiter.ts";
import { NoLimiter } from "../../core/limits/no-limiter.ts";
import { UpstashLimiter } from "../../core/limits/upstash-limiter.ts";

/** Whether callers are limited, and where Upstash is; it is used when both of its variables are set. */
export interface LimiterVariables {
  readonly LIMITS_ENABLED: boolean;
  readonly UPSTASH_REDIS_REST_URL?: string | undefined;
  readonly UPSTASH_REDIS_REST_TOKEN?: string | undefined;
}

/** Makes the limiter; connects to nothing yet. */
export function createBackendLimiter(variables: LimiterVariables, logger: Logger): Limiter {
  if (!variables.LIMITS_ENABLED) return new NoLimiter();
  const { UPSTASH_REDIS_REST_URL: url, UPSTASH_REDIS_REST_TOKEN: token } = variables;
  const upstash = url && token ? [new UpstashLimiter({ url, token, now: Date.now })] : [];
  return composeLimiter(upstash, Date.now, ({ limiter, state, error }) => {
    const level = state === "recovered" ? "info" : "warn";
    logger[level]({ limiter, err: error }, `limiter ${state}`);
  });
}
