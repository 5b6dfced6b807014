/**
 * Kills the backend that answers, with SIGKILL, at a random moment of an answer of 200 pieces, again and again, and
 * looks at what callers have seen and what the durable log has. With two backends on one Redis and one PostgreSQL, and
 * with one backend and nothing configured. Or stops it for longer than its lease (SIGSTOP) and lets it go on.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PgSqlClient } from "../../backend/stores/pg-sql-client.ts";
import type { SqlClient } from "../../core/directory/sql-client.ts";
import { NeonSqlClient } from "../../edge/directory/neon-sql-client.ts";
import { BackendProcess } from "../support/backend-process.ts";
import { answerText } from "../support/double-answer.ts";
import { type OpenaiDouble, startOpenaiDouble } from "../support/openai-double.ts";
import { callPersistently, problemsOf } from "../support/persistent-caller.ts";
import { startPostgres } from "../support/postgres.ts";
import { startRedis } from "../support/redis.ts";

/** The answer: 200 pieces, 5 ms apart, so that a second of it can be cut anywhere. */
const TOKENS = Array.from({ length: 199 }, (_, index) => `piece-${index} `);
const TOKEN_INTERVAL_MS = 5;
const ANSWER_MS = TOKENS.length * TOKEN_INTERVAL_MS;
/** A takeover, the whole answer, and a busy machine. */
const ROUND_MS_MAX = 60_000;
/** Longer than the default lease and the look for it. */
const PAUSE_MS = 6_000;
const QUESTION = "what are the pieces?";

/** What happened in all rounds. */
export interface KillReport {
  readonly rounds: number;
  /** Rounds with nothing to complain about. */
  readonly whole: number;
  /** What was wrong, by round. */
  readonly problems: readonly string[];
  /** From the kill to the first event after it, milliseconds, by round; undefined when the answer was over by then. */
  readonly gapsMs: readonly number[];
}

/** How often, and on what. */
export interface KillOptions {
  readonly rounds: number;
  /** `shared`: two backends, Redis, PostgreSQL. `embedded`: one backend with nothing configured. */
  readonly mode: "shared" | "embedded";
  /** `kill`: SIGKILL and a new start. `pause`: SIGSTOP for longer than a lease, then SIGCONT. Default `kill`. */
  readonly fault?: "kill" | "pause";
  /** Uniform in [0, 1). Default Math.random. */
  readonly random?: () => number;
}

interface Scene {
  readonly backends: readonly BackendProcess[];
  readonly database: () => SqlClient;
  readonly headers: Record<string, string>;
  close(): Promise<void>;
}

/** Runs the rounds one after another. */
export async function killBackends(options: KillOptions): Promise<KillReport> {
  const { rounds, mode, fault = "kill", random = Math.random } = options;
  const model = await startOpenaiDouble({ tokens: TOKENS, tokenIntervalMs: TOKEN_INTERVAL_MS });
  const scene = await (mode === "shared" ? openShared(model) : openEmbedded(model));
  const problems: string[] = [];
  const gapsMs: number[] = [];
  let whole = 0;
  try {
    for (let round = 1; round <= rounds; round++) {
      const { found, gapMs } = await playRound(scene, { round, fault, afterMs: random() * ANSWER_MS });
      if (gapMs !== undefined) gapsMs.push(gapMs);
      if (found.length === 0) whole++;
      problems.push(...found.map((problem) => `round ${round}: ${problem}`));
    }
  } finally {
    await scene.close();
    await model.close();
  }
  return { rounds, whole, problems, gapsMs };
}

async function playRound(
  scene: Scene,
  { round, fault, afterMs }: { round: number; fault: "kill" | "pause"; afterMs: number },
) {
  const { backends, headers } = scene;
  const [victim, other] = round % 2 === 0 || backends.length === 1 ? backends : [...backends].reverse();
  if (!victim) throw new Error("no backend");
  const message = { messageId: `round-${round}`, receiverId: "assistant", text: QUESTION };
  const urls = [victim, ...(other ? [other] : [])].map(({ url }) => url);
  const begun = Promise.withResolvers<void>();
  let killedAtMs = Number.POSITIVE_INFINITY;
  let gapMs: number | undefined;
  const onEvent = () => {
    begun.resolve();
    if (performance.now() > killedAtMs) gapMs ??= performance.now() - killedAtMs;
  };
  const signal = AbortSignal.timeout(ROUND_MS_MAX);
  const call = callPersistently({ urls, headers, message, signal, onEvent });
  call.catch(() => begun.resolve());
  await begun.promise;
  // A second caller of the same message, which begins elsewhere when it can, sees the same.
  const second = callPersistently({ urls: urls.toReversed(), headers, message, signal });
  const both = Promise.allSettled([call, second]);
  await new Promise((resolve) => setTimeout(resolve, afterMs));
  killedAtMs = performance.now();
  if (fault === "pause") {
    victim.signal("SIGSTOP");
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    victim.signal("SIGCONT");
  } else {
    await victim.kill();
    await victim.start();
  }
  const found: string[] = [];
  const answers = new Set<string>();
  for (const outcome of await both) {
    if (outcome.status === "rejected") found.push(`no answer: ${outcome.reason}`);
    else {
      found.push(...problemsOf(outcome.value, answerText(QUESTION, TOKENS)));
      const last = outcome.value.at(-1);
      answers.add(`${last?.taskId} ${last?.sequence} ${last?.messageId}`);
    }
  }
  if (answers.size > 1) found.push("two callers have got different answers");
  found.push(...(await problemsOfRows(scene, message.messageId)));
  return { found, gapMs };
}

/** Of each message the log has the question once and one reply. */
async function problemsOfRows({ database }: Scene, messageId: string): Promise<string[]> {
  const rows = await database().query<{ role: string; count: number }>(
    `SELECT role, count(*)::int AS count FROM messages WHERE message_id = $1 OR in_reply_to = $1 GROUP BY role`,
    [messageId],
  );
  return ["user", "agent"].flatMap((role) => {
    const count = rows.find((row) => row.role === role)?.count ?? 0;
    return count === 1 ? [] : [`${count} rows of role ${role}`];
  });
}

function environmentOf(model: OpenaiDouble, directory: string): Record<string, string> {
  return {
    DATA_DIRECTORY: directory,
    DEVELOPMENT_KEY_FILE: join(directory, "key"),
    OPENAI_BASE_URL: model.baseUrl,
    OPENAI_API_KEY: "double",
    OPENAI_MODEL: "healthy",
  };
}

function headersFrom(directory: string): Record<string, string> {
  return { authorization: `Bearer ${readFileSync(join(directory, "key"), "utf8").trim()}` };
}

async function openShared(model: OpenaiDouble): Promise<Scene> {
  const directory = mkdtempSync(join(tmpdir(), "parley-faults-"));
  const [redis, postgres] = await Promise.all([startRedis(), startPostgres()]);
  const databaseUrl = await postgres.createDatabase();
  const environment = {
    ...environmentOf(model, directory),
    REDIS_URL: redis.url,
    DATABASE_URL: databaseUrl,
  };
  // The first one makes the schema and the key.
  const first = await BackendProcess.start(environment);
  const backends = [first, await BackendProcess.start(environment)];
  const client = new PgSqlClient({ connectionString: databaseUrl, onIdleError: () => {} });
  return {
    backends,
    database: () => client,
    headers: headersFrom(directory),
    async close() {
      await Promise.all(backends.map((backend) => backend.kill()));
      await client.close();
      await Promise.all([redis.stop(), postgres.stop()]);
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

async function openEmbedded(model: OpenaiDouble): Promise<Scene> {
  const directory = mkdtempSync(join(tmpdir(), "parley-faults-"));
  const backend = await BackendProcess.start({
    ...environmentOf(model, directory),
    NEON_ENDPOINT_SECRET: crypto.randomUUID(),
  });
  return {
    backends: [backend],
    database() {
      const { databaseUrl = "", neonEndpoint = "" } = backend.ready;
      return new NeonSqlClient({ connectionString: databaseUrl, fetchEndpoint: neonEndpoint });
    },
    headers: headersFrom(directory),
    async close() {
      await backend.kill();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
