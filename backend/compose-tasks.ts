/** Builds what lets tasks outlive this process: the ledger that backends share on Redis, and the durable log. */
import type { Logger } from "pino";
import type { SqlClient } from "../core/directory/sql-client.ts";
import type { BackendConfig } from "./config.ts";
import { openRedis } from "./open-redis.ts";
import type { RedisConnection } from "./stores/redis-connection.ts";
import { READ_BLOCK_MS } from "./stores/redis-event-reader.ts";
import { RedisTaskLedger } from "./stores/redis-task-ledger.ts";
import { SqlTaskArchive } from "./stores/sql-task-archive.ts";
import { SharedTasks } from "./tasks/shared-tasks.ts";
import { TaskRecovery } from "./tasks/task-recovery.ts";

/** What it is built from. */
export interface TaskParts {
  readonly client: SqlClient;
  readonly redis: RedisConnection | undefined;
  /** Names this process among the backends. */
  readonly backendId: string;
  readonly config: BackendConfig;
  readonly logger: Logger;
}

/** See above. */
export function composeTasks(parts: TaskParts): { shared: SharedTasks | undefined; recovery: TaskRecovery } {
  const { client, backendId, config, logger } = parts;
  const monotonicNow = () => performance.now();
  const leaseMs = config.TASK_LEASE_MS;
  // One process at a time opens the embedded database: whoever had it before is gone.
  const isAlone = config.DATABASE_URL === undefined;
  const recovery = new TaskRecovery({
    archive: new SqlTaskArchive({
      client,
      backendId,
      leaseMs: isAlone ? undefined : leaseMs,
    }),
    leaseMs,
    isAlone,
    now: monotonicNow,
    onFailure: (error) => logger.error({ err: error }, "tasks could not be taken up"),
  });
  return { shared: composeShared(parts), recovery };
}

function composeShared({ redis, backendId, config, logger }: TaskParts): SharedTasks | undefined {
  const readConnection = openRedis(config, logger, { purpose: "events", blockMs: READ_BLOCK_MS });
  if (!redis || !readConnection) return undefined;
  return new SharedTasks({
    ledger: new RedisTaskLedger({
      ...{ connection: redis, readConnection, backendId },
      leaseMs: config.TASK_LEASE_MS,
    }),
    now: Date.now,
    monotonicNow: () => performance.now(),
    onFailure: (error) => logger.error({ err: error }, "the task ledger failed"),
  });
}
