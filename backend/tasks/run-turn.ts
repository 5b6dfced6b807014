/**
 * Runs one task: loads the conversation, lets the agent answer, records, and ends the task with exactly one last
 * event. The reply is shown only after it is durable; when the log cannot take it in time, or is known to be
 * behind, the reply goes out marked `recorded: false` and stays in the log's queue.
 */
import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { Logger } from "pino";
import type { Agent } from "../../core/directory/agent.ts";
import { ParleyError, toParleyError } from "../../core/errors/parley-error.ts";
import type { Deadline } from "../../core/resilience/deadline.ts";
import type { A2AMessage } from "../../proto/gen/parley/v1/agent_service_pb.js";
import type { AgentEvent } from "../agents/agent-runner.ts";
import type { AgentRunners } from "../agents/agent-runners.ts";
import type { ConversationSummarizer } from "../agents/conversation-summarizer.ts";
import { questionText } from "../agents/question-text.ts";
import { givenHistory, givenParameters } from "../agents/sender-context.ts";
import type { ModelAttempt } from "../llm/answer-event.ts";
import {
  type Conversation,
  type ConversationMemory,
  exchangeId,
  type SpokenExchange,
  type TurnKey,
} from "../stores/conversation-memory.ts";
import { agentNotFound } from "./engine-errors.ts";
import { shownAttempts } from "./shown-attempts.ts";
import type { Task } from "./task.ts";
import type { RunTask } from "./task-engine.ts";
import type { TurnRecorder } from "./turn-recorder.ts";

/** How long a reply waits for the log. A healthy database takes milliseconds. */
const RECORD_WAIT_MS_MAX = 1_000;

/** What running a turn needs. */
export interface RunTurnOptions {
  runners: AgentRunners;
  memory: ConversationMemory;
  recorder: TurnRecorder;
  /** To be told of every turn that the conversation remembers. */
  summarizer?: Pick<ConversationSummarizer, "consider">;
  logger: Logger;
  /** Monotonic, milliseconds. */
  now: () => number;
}

type FinishEvent = Extract<AgentEvent, { type: "finish" }>;

/** Makes the function that runs tasks. */
export function createRunTurn(options: RunTurnOptions): RunTask {
  const { runners, memory, recorder, summarizer, logger, now } = options;

  /** Answers the task's message; its deltas and restarts become events as they come. */
  async function answer(task: Task, agent: Agent, deadline: Deadline): Promise<FinishEvent> {
    const { message, requestId, signal } = task;
    const content = contentOf(task);
    const given = givenHistory(message);
    const remembered: Conversation = given ? { exchanges: [] } : await memory.load(turnKeyOf(task), signal);
    const turn = {
      ...{ agent, content, deadline, requestId },
      sent: { message, subject: task.owner },
      history: given ?? remembered.exchanges.flatMap(({ turns }) => turns),
      summary: remembered.summary,
      isHistoryIncomplete: remembered.isIncomplete,
      instructions: message.history?.instructions ?? "",
      parameters: givenParameters(message),
      onAttempt: (attempt: ModelAttempt) => task.attempts.push(attempt),
    };
    for await (const event of runners(agent).answer(turn, signal)) {
      if (event.type === "finish") {
        return remembered.isIncomplete
          ? { ...event, metadata: { ...event.metadata, contextIncomplete: true } }
          : event;
      }
      const shown = event.type === "restart" ? task.restart(event.reason) : task.delta(event.text);
      // Mostly there is nothing to wait for, and a wait for nothing costs every token a turn of the loop.
      if (shown) await shown;
    }
    throw new Error(`agent "${agent.id}" ended its answer without finishing it`);
  }

  async function complete(task: Task, agent: Agent, finish: FinishEvent, startedAtMs: number) {
    const { parts, metadata, record } = finish;
    const reply = task.reply(parts, metadata);
    const recorded = await settles(recorder.answer(task, reply, record, now() - startedAtMs));
    if (!recorded) reply.metadata = { ...reply.metadata, recorded: false };
    // After the record is made: whoever reads messages need not have this caller's scope.
    if (task.record.showsAttempts)
      reply.metadata = { ...reply.metadata, attempts: shownAttempts(task.attempts) };
    // What stands in for an answer is not the conversation's, and a sender that tells its own has none here.
    if (record.degraded === undefined && !task.message.history) {
      const key = turnKeyOf(task);
      const tokens = await memory.append(key, exchangeOf(task, reply));
      summarizer?.consider({ agent, key, tokens, keyId: task.keyId });
    }
    await task.complete(reply);
  }

  async function fail(task: Task, thrown: unknown, startedAtMs: number) {
    const error = toParleyError(task.signal.aborted ? task.signal.reason : thrown);
    await settles(recorder.failure(task, error, now() - startedAtMs));
    if (error.code === "canceled") await task.endCanceled();
    else await task.fail(error);
    return error;
  }

  /** Whether the promise resolves in time; a rejection is logged and counts as "no". */
  async function settles(promise: Promise<void>): Promise<boolean> {
    const waitMs = recorder.state() === "ready" ? RECORD_WAIT_MS_MAX : 0;
    let timer: NodeJS.Timeout | undefined;
    const timeout = new Promise<boolean>((resolve) => {
      timer = setTimeout(resolve, waitMs, false);
    });
    const settled = promise.then(
      () => true,
      (error) => {
        logger.error({ err: error }, "a turn could not be recorded");
        return false;
      },
    );
    const inTime = await Promise.race([settled, timeout]);
    clearTimeout(timer);
    return inTime;
  }

  return async (task, agent, deadline) => {
    const startedAtMs = now();
    const fields = {
      requestId: task.requestId,
      taskId: task.id,
      tenantId: task.tenantId,
      agentId: task.message.receiverId,
    };
    try {
      task.signal.throwIfAborted();
      if (!agent) throw agentNotFound(task.message.receiverId);
      const finish = await answer(task, agent, deadline);
      if (!(await isHeld(task))) return;
      await complete(task, agent, finish, startedAtMs);
      logger.info(
        { ...fields, ...finish.record, durationMs: Math.round(now() - startedAtMs) },
        "turn answered",
      );
    } catch (thrown) {
      if (!(await isHeld(task))) return;
      const error = await fail(task, thrown, startedAtMs);
      logger.warn(
        { ...fields, code: error.code, reason: error.reason, err: error.cause ?? error },
        "turn failed",
      );
    }
  };
}

function turnKeyOf({ tenantId, message, isNewContext }: Task): TurnKey {
  return { tenantId, contextId: message.contextId, exchangeId: exchangeId(message), isNewContext };
}

/** What the conversation remembers of a turn. */
function exchangeOf(task: Task, reply: A2AMessage): SpokenExchange {
  const { message } = task;
  return {
    id: exchangeId(message),
    atMs: message.createdAt ? timestampMs(message.createdAt) : 0,
    turns: [
      { role: "user", text: questionText(contentOf(task)) },
      { role: "assistant", text: reply.text },
    ],
  };
}

/** Whether what comes of the run counts: another backend may have taken the task over. */
async function isHeld(task: Task): Promise<boolean> {
  return !task.isLost && (task.gate === undefined || (await task.gate.isHeld()));
}

/** A task's message has a content: it was checked before it was accepted. */
function contentOf(task: Task) {
  const { body } = task.message;
  if (body.case === "content") return body.value;
  throw new ParleyError("internal", "a message without content became a task");
}
