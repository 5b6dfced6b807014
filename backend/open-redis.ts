/** The backend's connection to Redis, when it is configured; what it is used for is not its business. */
import type { Logger } from "pino";
import type { BackendConfig } from "./config.ts";
import { RedisConnection } from "./stores/redis-connection.ts";

/** Begins to connect; undefined without `REDIS_URL`. */
export function openRedis({ REDIS_URL: url }: BackendConfig, logger: Logger): RedisConnection | undefined {
  if (url === undefined) return undefined;
  return new RedisConnection({
    url,
    name: "parley-commands",
    random: Math.random,
    onEvent: (event) => {
      if (event.state === "ready") logger.info("redis ready");
      else logger.warn({ err: event.error }, "redis failing");
    },
  });
}
