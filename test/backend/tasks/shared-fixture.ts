/** Several task engines that share one real Redis, as several backends do. */

import type { AgentRunner } from "../../../backend/agents/agent-runner.ts";
import { RedisConnection } from "../../../backend/stores/redis-connection.ts";
import { READ_BLOCK_MS } from "../../../backend/stores/redis-event-reader.ts";
import { RedisTaskLedger } from "../../../backend/stores/redis-task-ledger.ts";
import { SharedTasks } from "../../../backend/tasks/shared-tasks.ts";
import type { TaskEngine, TaskEngineOptions } from "../../../backend/tasks/task-engine.ts";
import type { TaskLedger } from "../../../backend/tasks/task-ledger.ts";
import type { A2AMessage } from "../../../proto/gen/parley/v1/agent_service_pb.js";
import { createEngine, createRecorder } from "./engine-fixture.ts";

/** Short, so that a takeover takes half a second. */
export const LEASE_MS = 400;

const READY_MS = 10_000;

/** A ledger on a Redis, with connections of its own. */
export interface TestLedger {
  readonly ledger: RedisTaskLedger;
  readonly connection: RedisConnection;
  /** Cuts it off from Redis for good. */
  end(): void;
}

/** Connects a backend. */
export async function connectLedger(url: string, backendId: string, leaseMs = LEASE_MS): Promise<TestLedger> {
  const open = (blockMs: number) =>
    new RedisConnection({ url, name: backendId, random: Math.random, blockMs, onEvent: () => {} });
  const connection = open(0);
  const readConnection = open(READ_BLOCK_MS);
  await Promise.all([connection, readConnection].map((each) => each.ready(AbortSignal.timeout(READY_MS))));
  const ledger = new RedisTaskLedger({ connection, readConnection, backendId, leaseMs });
  return {
    ledger,
    connection,
    end() {
      ledger.close();
      connection.close();
    },
  };
}

/** A backend: an engine with its part in what is shared. */
export interface TestBackend extends TestLedger {
  readonly engine: TaskEngine;
  readonly recorder: ReturnType<typeof createRecorder>;
}

/** Starts one whose one agent answers with `runner`. */
export async function startSharedEngine(
  url: string,
  runner: AgentRunner,
  options: Partial<TaskEngineOptions> & {
    backendId?: string;
    wrap?: (ledger: TaskLedger) => TaskLedger;
  } = {},
): Promise<TestBackend> {
  const { backendId = crypto.randomUUID(), wrap = (ledger) => ledger, ...overrides } = options;
  const connected = await connectLedger(url, backendId);
  const recorder = createRecorder();
  const shared = new SharedTasks({
    ledger: wrap(connected.ledger),
    now: Date.now,
    monotonicNow: () => performance.now(),
    onFailure: (error) => {
      throw error;
    },
  });
  return { ...connected, recorder, engine: createEngine(runner, { recorder, shared, ...overrides }) };
}

/** What must hold of what any follower sees: numbers without gap or repeat, and at last a whole answer. */
export function problemsOf(events: readonly A2AMessage[], after = 0): string[] {
  const problems: string[] = [];
  events.forEach((event, index) => {
    if (event.sequence !== after + index + 1) problems.push(`${event.sequence} after ${after + index}`);
  });
  if (events.at(-1)?.body.case !== "content") problems.push(`the last is ${events.at(-1)?.body.case}`);
  return problems;
}
