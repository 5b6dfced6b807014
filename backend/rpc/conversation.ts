/**
 * One bidirectional stream: many turns, each followed to its end, their events interleaved. What is wrong with one
 * message is answered in the stream and does not end it.
 */
import { create } from "@bufbuild/protobuf";
import { ParleyError, toParleyError } from "../../core/errors/parley-error.ts";
import { errorMessageBody } from "../../core/messages/error-body.ts";
import { type A2AMessage, A2AMessageSchema } from "../../proto/gen/parley/v1/agent_service_pb.js";
import type { Task } from "../tasks/task.ts";
import type { Caller } from "./caller.ts";
import { Channel } from "./channel.ts";

/** Turns of one stream that may be waiting or running at once; further messages are refused until one ends. */
const TURNS_IN_FLIGHT_MAX = 32;
/** Events that may wait for a slow reader before the turns' followers wait too. */
const EVENTS_WAITING_MAX = 64;
const TURNS_RETRY_AFTER_MS = 1_000;

/** A conversation and what it may do. */
export interface ConversationOptions {
  messages: AsyncIterable<A2AMessage>;
  caller: Caller;
  /** Ends the conversation, with its reason; the turns go on. */
  signal: AbortSignal;
  /** `defaultContextId` is for a message that names no context. */
  accept: (message: A2AMessage, defaultContextId: string) => Promise<Task>;
  cancel: (message: A2AMessage) => Promise<void>;
}

/** Yields the events of all turns; returns when the caller has sent its last message and every turn has ended. */
export async function* converse(options: ConversationOptions): AsyncGenerator<A2AMessage, void, undefined> {
  const { messages, caller, signal, accept, cancel } = options;
  const events = new Channel<A2AMessage>(EVENTS_WAITING_MAX);
  const turns = new Set<Promise<void>>();
  const contextId = crypto.randomUUID();

  async function follow(task: Task): Promise<void> {
    for await (const event of task.events.follow(0, signal)) {
      if (!(await events.send(event))) return;
    }
  }

  async function take(message: A2AMessage): Promise<void> {
    if (message.body.case === "cancel") return await cancel(message);
    if (turns.size >= TURNS_IN_FLIGHT_MAX) throw tooManyTurns();
    const task = await accept(message, contextId);
    const turn = follow(task).catch((error) => {
      if (!signal.aborted) throw error;
    });
    turns.add(turn);
    turn.finally(() => turns.delete(turn)).catch(() => {});
  }

  async function takeAll(): Promise<void> {
    for await (const message of messages) {
      try {
        await take(message);
      } catch (error) {
        await events.send(errorEvent(toParleyError(error), message, caller.requestId));
      }
    }
    await Promise.all(turns);
  }

  const taking = takeAll().finally(() => events.close());
  taking.catch(() => {});
  const end = () => events.close();
  signal.addEventListener("abort", end, { once: true });
  try {
    yield* events.receive();
    // A caller that sends nothing more would be waited for for ever.
    signal.throwIfAborted();
    await taking;
  } finally {
    signal.removeEventListener("abort", end);
    events.close();
  }
}

function tooManyTurns(): ParleyError {
  return new ParleyError(
    "resource_exhausted",
    `a stream may have ${TURNS_IN_FLIGHT_MAX} turns in flight; wait for one to end`,
    { retryable: true, retryAfterMs: TURNS_RETRY_AFTER_MS },
  );
}

/** The answer to a message that could not be taken. */
function errorEvent(error: ParleyError, message: A2AMessage, requestId: string): A2AMessage {
  return create(A2AMessageSchema, {
    messageId: crypto.randomUUID(),
    senderId: message.receiverId,
    receiverId: message.senderId,
    contextId: message.contextId,
    inReplyTo: message.messageId,
    body: errorMessageBody(error, requestId),
  });
}
