/**
 * Kills the backend that answers, with SIGKILL, at a random moment of an answer of 200 pieces, again and again, and
 * looks at what callers have seen and what the durable log has. With two backends on one Redis and one PostgreSQL, and
 * with one backend and nothing configured. Or stops it for longer than its lease (SIGSTOP) and lets it go on.
 */
import { answerText } from "../support/double-answer.ts";
import { startOpenaiDouble } from "../support/openai-double.ts";
import { callPersistently, problemsOf } from "../support/persistent-caller.ts";
import { openEmbedded, openShared, type Scene } from "./scene.ts";

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
  /** Messages whose callers got the whole answer, once, all of them the same. */
  readonly answers: number;
  /** Messages that had to be sent again: their backend ended within moments, before it had written them down. */
  readonly sentAgain: number;
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
  /** Messages being answered when the backend is killed, spread over the time of an answer. Default 1. */
  readonly tasks?: number;
  /** Uniform in [0, 1). Default Math.random. */
  readonly random?: () => number;
  /** Told when a round is over. */
  readonly onRound?: (round: number, gapMs: number | undefined) => void;
}

/** Runs the rounds one after another. */
export async function killBackends(options: KillOptions): Promise<KillReport> {
  const { rounds, mode, fault = "kill", tasks = 1, random = Math.random, onRound } = options;
  const model = await startOpenaiDouble({ tokens: TOKENS, tokenIntervalMs: TOKEN_INTERVAL_MS });
  const scene = await (mode === "shared" ? openShared(model) : openEmbedded(model));
  const problems: string[] = [];
  const gapsMs: number[] = [];
  let [whole, answers, sentAgain] = [0, 0, 0];
  try {
    for (let round = 1; round <= rounds; round++) {
      const afterMs = random() * ANSWER_MS;
      const played = await playRound(scene, { round, fault, afterMs, tasks });
      if (played.gapMs !== undefined) gapsMs.push(played.gapMs);
      const found = played.problems.flat();
      if (found.length === 0) whole++;
      sentAgain += played.lost.size;
      answers += played.problems.filter(({ length }) => length === 0).length;
      problems.push(...found.map((problem) => `round ${round}: ${problem}`));
      onRound?.(round, played.gapMs);
    }
  } finally {
    await scene.close();
    await model.close();
  }
  return { rounds, whole, answers, sentAgain, problems, gapsMs };
}

interface Round {
  readonly round: number;
  readonly fault: "kill" | "pause";
  readonly afterMs: number;
  readonly tasks: number;
}

async function playRound(scene: Scene, { round, fault, afterMs, tasks }: Round) {
  const { backends } = scene;
  const [victim, other] = round % 2 === 0 || backends.length === 1 ? backends : [...backends].reverse();
  if (!victim) throw new Error("no backend");
  const urls = [victim, ...(other ? [other] : [])].map(({ url }) => url);
  const begun = Promise.withResolvers<void>();
  let killedAtMs = Number.POSITIVE_INFINITY;
  let gapMs: number | undefined;
  const onEvent = () => {
    begun.resolve();
    if (performance.now() > killedAtMs) gapMs ??= performance.now() - killedAtMs;
  };
  const idOf = (index: number) => `round-${round}-${index}`;
  const lost = new Set<string>();
  const calls = Array.from({ length: tasks }, (_, index) =>
    callTwice(scene, {
      urls,
      messageId: idOf(index),
      // Spread over an answer's time, so that one kill meets every part of it.
      delayMs: (index / tasks) * ANSWER_MS,
      ...(index === 0 && { onEvent }),
      ...(!other && { onLost: () => lost.add(idOf(index)) }),
    }),
  );
  const all = Promise.all(calls);
  await begun.promise;
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
  const seen = await all;
  // Not sooner: the embedded database dies with its backend.
  const recorded = await Promise.all(seen.map((_, index) => problemsOfRows(scene, idOf(index))));
  return { problems: seen.map((found, index) => [...found, ...(recorded[index] ?? [])]), gapMs, lost };
}

interface TwoCalls {
  readonly urls: readonly string[];
  readonly messageId: string;
  readonly delayMs: number;
  readonly onEvent?: () => void;
  readonly onLost?: () => void;
}

/** One message with two callers, the second of which begins elsewhere when it can; what was wrong with what they saw. */
async function callTwice(
  scene: Scene,
  { urls, messageId, delayMs, onEvent, onLost }: TwoCalls,
): Promise<string[]> {
  const { headers } = scene;
  await new Promise((resolve) => setTimeout(resolve, delayMs));
  const message = { messageId, receiverId: "assistant", text: QUESTION };
  const signal = AbortSignal.timeout(ROUND_MS_MAX);
  const call = { headers, message, signal, ...(onLost && { onLost }) };
  const begun = Promise.withResolvers<void>();
  const first = callPersistently({
    ...{ ...call, urls },
    onEvent: () => {
      begun.resolve();
      onEvent?.();
    },
  });
  const second = begun.promise.then(() => callPersistently({ ...call, urls: urls.toReversed() }));
  // When the first fails before it has begun, the second need not.
  first.catch(() => begun.resolve());
  const found: string[] = [];
  const answers = new Set<string>();
  for (const outcome of await Promise.allSettled([first, second])) {
    if (outcome.status === "rejected") {
      onEvent?.();
      found.push(`no answer: ${outcome.reason}`);
    } else {
      found.push(...problemsOf(outcome.value, answerText(QUESTION, TOKENS)));
      const last = outcome.value.at(-1);
      answers.add(`${last?.taskId} ${last?.sequence} ${last?.messageId}`);
    }
  }
  if (answers.size > 1) found.push("two callers have got different answers");
  return found;
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
