/** The backend's connections to Redis, when it is configured; what they are used for is not its business. */
import type { Logger } from "pino";
import type { BackendConfig } from "./config.ts";
import { RedisConnection } from "./stores/redis-connection.ts";

/** What a connection is for. */
export interface RedisPurpose {
  readonly purpose: "commands" | "events";
  /** The longest that its commands block, milliseconds. */
  readonly blockMs: number;
}

/** Begins to connect; undefined without `REDIS_URL`. */
export function openRedis(
  { REDIS_URL: url }: BackendConfig,
  logger: Logger,
  { purpose, blockMs }: RedisPurpose = { purpose: "commands", blockMs: 0 },
): RedisConnection | undefined {
  if (url === undefined) return undefined;
  return new RedisConnection({
    url,
    name: `parley-${purpose}`,
    random: Math.random,
    blockMs,
    onEvent: (event) => {
      if (event.state === "ready") logger.info({ connection: purpose }, "redis ready");
      else logger.warn({ connection: purpose, err: event.error }, "redis failing");
    },
  });
}
