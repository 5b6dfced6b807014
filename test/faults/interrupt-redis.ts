/**
 * Stops, kills and restarts the Redis that two backends share, while conversations go on over both of them, and looks at
 * how long answers took, whether anything was answered twice, and whether every conversation is whole afterwards.
 */
import { Code, ConnectError } from "@connectrpc/connect";
import type { A2AMessage } from "../../proto/gen/parley/v1/agent_service_pb.js";
import { answerText } from "../support/double-answer.ts";
import { type OpenaiDouble, startOpenaiDouble } from "../support/openai-double.ts";
import { agentsAt, textOfPieces } from "../support/persistent-caller.ts";
import { openShared, type SharedScene } from "./scene.ts";

const TOKENS = Array.from({ length: 40 }, (_, index) => `word-${index} `);
const TOKEN_INTERVAL_MS = 10;
/** Far more than an answer takes on a busy machine, far less than a hang. */
const DEADLINE_MS = 15_000;
/** What a deadline may be late by here: the time of a busy machine, not of the gateway. */
const LATE_MS = 2_000;
/** A standstill outlasts the backends' leases (TASK_LEASE_MS, 3.5 s). */
const STANDSTILL_MS = 5_000;
const CALM_MS = 1_500;
const PAUSE_MS = 50;

/** What was seen. */
export interface InterruptionReport {
  readonly interruptions: number;
  readonly conversations: number;
  readonly messages: number;
  /** Of the slowest answer. */
  readonly slowestMs: number;
  /** Messages that a model was asked for more than once: a backend that got no processor for a lease's time lost them. */
  readonly askedAgain: number;
  readonly problems: readonly string[];
}

/** How often, with how much going on. */
export interface InterruptionOptions {
  /** Each is a standstill, a kill, and a restart of an empty one. */
  readonly rounds: number;
  readonly conversations: number;
}

/** One question that was asked, and how it went. */
interface Asked {
  readonly messageId: string;
  readonly text: string;
  readonly durationMs: number;
  readonly problem?: string;
}

/** Plays the rounds under load. */
export async function interruptRedis({
  rounds,
  conversations,
}: InterruptionOptions): Promise<InterruptionReport> {
  const model = await startOpenaiDouble({ tokens: TOKENS, tokenIntervalMs: TOKEN_INTERVAL_MS });
  const scene = await openShared(model);
  try {
    const calm = new AbortController();
    const talks = Array.from({ length: conversations }, (_, index) =>
      talk(scene, `talk-${index}`, calm.signal),
    );
    for (let round = 0; round < rounds; round++) await interrupt(scene);
    await pause(CALM_MS);
    calm.abort();
    const asked = await Promise.all(talks);
    const all = asked.flat();
    return {
      interruptions: 2 * rounds,
      conversations,
      messages: all.length,
      slowestMs: Math.max(...all.map(({ durationMs }) => durationMs)),
      askedAgain: askedAgain(model, all),
      problems: [
        ...all.flatMap(({ messageId, problem }) => (problem ? [`${messageId}: ${problem}`] : [])),
        ...(await doubledIn(scene, all)),
        ...(
          await Promise.all(asked.map((talked, index) => forgottenIn({ scene, model, talked, index })))
        ).flat(),
      ],
    };
  } finally {
    await scene.close();
    await model.close();
  }
}

/** A standstill, then a kill. */
async function interrupt(scene: SharedScene): Promise<void> {
  await pause(CALM_MS);
  scene.redis().process.kill("SIGSTOP");
  await pause(STANDSTILL_MS);
  scene.redis().process.kill("SIGCONT");
  await pause(CALM_MS);
  await scene.restartRedis();
}

/** Asks one question after another, in turn of either backend, until it is calm. */
async function talk(scene: SharedScene, contextId: string, calm: AbortSignal): Promise<Asked[]> {
  const asked: Asked[] = [];
  while (!calm.aborted) {
    const messageId = `${contextId}-${asked.length}`;
    asked.push(await ask(scene, { contextId, messageId, text: `question ${messageId}`, turn: asked.length }));
    await pause(PAUSE_MS);
  }
  return asked;
}

interface Question {
  readonly contextId: string;
  readonly messageId: string;
  readonly text: string;
  readonly turn: number;
}

async function ask({ backends, headers }: SharedScene, question: Question): Promise<Asked> {
  const { contextId, messageId, text, turn } = question;
  const agents = agentsAt(backends[turn % backends.length]?.url ?? "");
  const message = { receiverId: "assistant", contextId, messageId, text };
  const events: A2AMessage[] = [];
  const startedAtMs = performance.now();
  let problem: string | undefined;
  try {
    for await (const event of agents.streamReply(message, { headers, timeoutMs: DEADLINE_MS }))
      events.push(event);
    if (textOfPieces(events) !== answerText(text, TOKENS)) problem = "the answer is not whole";
    if (events.some(({ sequence }, index) => sequence !== index + 1))
      problem = "events are missing, or came twice";
  } catch (error) {
    const { code, rawMessage } = ConnectError.from(error);
    problem = `${Code[code]}: ${rawMessage}`;
  }
  const durationMs = performance.now() - startedAtMs;
  if (durationMs > DEADLINE_MS + LATE_MS) problem = `${durationMs} ms, past its deadline`;
  return { messageId, text, durationMs, ...(problem !== undefined && { problem }) };
}

function askedAgain(model: OpenaiDouble, all: readonly Asked[]): number {
  const asked = model.requests.map(({ body }) => body?.messages?.at(-1)?.content);
  return all.filter(({ text }) => asked.indexOf(text) !== asked.lastIndexOf(text)).length;
}

/** Of each message the log has the question once and one reply. */
async function doubledIn(scene: SharedScene, all: readonly Asked[]): Promise<string[]> {
  const rows = await scene.database().query<{ id: string; role: string; count: number }>(
    `SELECT coalesce(nullif(in_reply_to, ''), message_id) AS id, role, count(*)::int AS count
     FROM messages GROUP BY 1, 2`,
    [],
  );
  return all.flatMap(({ messageId }) =>
    ["user", "agent"].flatMap((role) => {
      const count = rows.find((row) => row.id === messageId && row.role === role)?.count ?? 0;
      return count === 1 ? [] : [`${messageId}: ${count} rows of role ${role}`];
    }),
  );
}

interface Talked {
  readonly scene: SharedScene;
  readonly model: OpenaiDouble;
  readonly talked: readonly Asked[];
  readonly index: number;
}

/** What the model is shown of a conversation afterwards, by either backend, is all that was said, in order. */
async function forgottenIn({ scene, model, talked, index }: Talked): Promise<string[]> {
  const contextId = `talk-${index}`;
  const said = talked.map(({ text }) => text);
  const problems: string[] = [];
  for (const turn of [0, 1]) {
    const text = `remember ${contextId}, ${turn}`;
    const { problem } = await ask(scene, { contextId, messageId: `${contextId}-after-${turn}`, text, turn });
    if (problem) problems.push(`${contextId} afterwards: ${problem}`);
    const request = model.requests.find(({ body }) => body?.messages?.at(-1)?.content === text);
    const shown: { role: string; content: string }[] = request?.body?.messages ?? [];
    const questions = shown.filter(({ role }) => role === "user").map(({ content }) => content);
    const answers = shown.filter(({ role }) => role === "assistant").map(({ content }) => content);
    // The oldest may no longer fit the model's window; what is shown has no hole.
    const expected = said.slice(-questions.length + 1);
    if (questions.length < 2 || questions.slice(0, -1).join() !== expected.join()) {
      problems.push(
        `${contextId}: the model was shown ${questions.length - 1} of ${said.length} questions, or others`,
      );
    }
    if (answers.join() !== expected.map((question) => answerText(question, TOKENS)).join()) {
      problems.push(`${contextId}: the model was shown other answers`);
    }
    said.push(text);
  }
  return problems;
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
