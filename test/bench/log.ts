/**
 * `node test/bench/log.ts`: how fast the durable log takes entries, and how long a reply waits for its own, on the
 * embedded database and on PostgreSQL with fsync. One caller appends a question and then waits for its reply's entry,
 * as a turn does; `free` callers do so as fast as they can, `paced` ones at a fixed rate together.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { GroupCommitLog, type LogStore } from "../../backend/stores/message-log.ts";
import { migrate, readMigrations } from "../../backend/stores/migrate.ts";
import { PgSqlClient } from "../../backend/stores/pg-sql-client.ts";
import { PgliteSqlClient } from "../../backend/stores/pglite-sql-client.ts";
import type { SqlDatabase } from "../../backend/stores/sql-database.ts";
import { SqlMessageLogStore } from "../../backend/stores/sql-message-log.ts";
import type { LogEntry } from "../../core/log/message-log.ts";
import { isPostgresAvailable, startPostgres } from "../support/postgres.ts";

const DURATION_MS = 4_000;
const PACED_TURNS_PER_SECOND = 250;
const RUNS = [
  { callers: 1, paced: false },
  { callers: 16, paced: false },
  { callers: 64, paced: false },
  { callers: 64, paced: true },
];
const REPLY = [{ text: "A reply of some length, as models give them. ".repeat(20) }];

interface Result {
  database: string;
  callers: string;
  "appends/s": number;
  "rows/batch": string;
  "reply waits p50 ms": string;
  "p99 ms": string;
}

async function measure(name: string, database: SqlDatabase, run: (typeof RUNS)[number]): Promise<Result> {
  const store = new SqlMessageLogStore(database);
  let batches = 0;
  const counting: LogStore = {
    encode: (entry) => store.encode(entry),
    insert: (rows, signal) => {
      batches++;
      return store.insert(rows, signal);
    },
  };
  const now = () => performance.now();
  const onFailure = ({ error }: { error: unknown }) => console.error(error);
  const log = new GroupCommitLog({ store: counting, now, random: Math.random, onFailure });
  const waitsMs: number[] = [];
  let appends = 0;
  const endsAtMs = now() + DURATION_MS;
  const intervalMs = run.paced ? (1_000 * run.callers) / PACED_TURNS_PER_SECOND : 0;
  const callOn = async (caller: number) => {
    let dueAtMs = now() + (intervalMs * caller) / run.callers;
    while (now() < endsAtMs) {
      if (run.paced) await sleep(Math.max(0, dueAtMs - now()));
      dueAtMs += intervalMs;
      const taskId = crypto.randomUUID();
      const question = log.append(entry(taskId, "user"));
      const startedAtMs = now();
      await log.append(entry(taskId, "agent"));
      waitsMs.push(now() - startedAtMs);
      await question;
      appends += 2;
    }
  };
  await Promise.all(Array.from({ length: run.callers }, (_, caller) => callOn(caller)));
  waitsMs.sort((a, b) => a - b);
  const at = (fraction: number) => (waitsMs[Math.floor(waitsMs.length * fraction)] ?? 0).toFixed(1);
  return {
    database: name,
    callers: run.paced ? `${run.callers}, ${PACED_TURNS_PER_SECOND} turns/s` : `${run.callers}`,
    "appends/s": Math.round((appends / DURATION_MS) * 1_000),
    "rows/batch": (appends / batches).toFixed(1),
    "reply waits p50 ms": at(0.5),
    "p99 ms": at(0.99),
  };
}

function entry(taskId: string, role: LogEntry["role"]): LogEntry {
  const isReply = role === "agent";
  const attempt = { model: "openai/bench", outcome: "answered", durationMs: 800, firstTokenMs: 90 };
  return {
    tenantId: "bench",
    messageId: crypto.randomUUID(),
    taskId,
    contextId: taskId,
    senderId: isReply ? "assistant" : "caller",
    receiverId: isReply ? "caller" : "assistant",
    role,
    content: isReply ? REPLY : [{ text: "How does it work?" }],
    keyId: "benchkey0001",
    agentVersion: 1,
    ...(isReply ? { model: attempt.model, inputTokens: 40, outputTokens: 200, attempts: [attempt] } : {}),
    createdAtMs: Date.now(),
  };
}

async function benchDatabase(name: string, database: SqlDatabase): Promise<Result[]> {
  await migrate(database, await readMigrations());
  const results: Result[] = [];
  for (const run of RUNS) results.push(await measure(name, database, run));
  await database.close();
  return results;
}

const folder = mkdtempSync(join(tmpdir(), "parley-bench-"));
const onEvent = (event: unknown) => console.error(event);
const results = await benchDatabase(
  "PGlite",
  await PgliteSqlClient.open({ dataDirectory: join(folder, "postgres"), onEvent }),
);
rmSync(folder, { recursive: true, force: true });
if (isPostgresAvailable()) {
  const server = await startPostgres({ fsync: true });
  const connectionString = await server.createDatabase();
  const client = new PgSqlClient({ connectionString, onIdleError: onEvent });
  results.push(...(await benchDatabase("PostgreSQL", client)));
  await server.stop();
}
console.table(results);
