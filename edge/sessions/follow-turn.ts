/**
 * Follows the reply to one message to its end, whatever happens on the way. The port to the backend takes a stream that
 * breaks up again by itself; here is what goes beyond that: a stream that cannot be taken up at once, as after an
 * eviction while backends are being replaced, and a task that no backend knows any more.
 */
import { create } from "@bufbuild/protobuf";
import { type ParleyError, toParleyError } from "../../core/errors/parley-error.ts";
import type { Clock } from "../../core/resilience/deadline.ts";
import { fullJitterMs, sleep } from "../../core/resilience/full-jitter.ts";
import {
  type A2AMessage,
  A2AMessageSchema,
  RestartSchema,
} from "../../proto/gen/parley/v1/agent_service_pb.js";
import type { AgentBackend, BackendCall, TaskPosition } from "../backend/agent-backend.ts";

const BACKOFF = { baseMs: 100, capMs: 5_000 };
/** A backend that loses a task again and again will lose it once more. */
const TASKS_LOST_MAX = 3;
/** A position that the backend says is in the future may only be so until its store has caught up. */
const FUTURE_POSITIONS_MAX = 5;
/** A message that nobody has taken is given up after so long: its sender waits for the first word. */
const UNTAKEN_MS = 10_000;

/** A turn to follow. */
export interface FollowTurnOptions {
  readonly backend: AgentBackend;
  readonly call: BackendCall;
  /** Admitted. */
  readonly message: A2AMessage;
  /** Where to go on; without a task id, from its first event. */
  readonly position: TaskPosition;
  readonly random: () => number;
  /** Unix epoch, milliseconds. */
  readonly now: Clock;
  /** Takes each event past the position once, in order. */
  onEvent(event: A2AMessage): void;
}

/**
 * Resolves when the event that ends the turn has been handed on.
 *
 * @throws ParleyError when there will be none: the turn's time is up, its signal aborted, or trying again is of no use
 */
export async function followTurn(options: FollowTurnOptions): Promise<void> {
  const { backend, call, message, random, now, onEvent } = options;
  const startedAtMs = now();
  let position = options.position;
  let failures = 0;
  let tasksLost = 0;
  while (true) {
    try {
      const events =
        position.taskId === "" ? backend.streamReply(message, call) : backend.resumeReply(position, call);
      for await (const event of events) {
        failures = 0;
        if (event.sequence <= position.afterSequence) continue;
        position = { taskId: event.taskId, afterSequence: event.sequence };
        onEvent(event);
      }
      return;
    } catch (cause) {
      const error = toParleyError(cause);
      if (isLost(error, position, failures)) {
        tasksLost += 1;
        if (tasksLost > TASKS_LOST_MAX) throw error;
        onEvent(restartOf(message));
        position = { taskId: "", afterSequence: 0 };
        continue;
      }
      if (!isPassing(error, position)) throw error;
      if (position.taskId === "" && now() - startedAtMs > UNTAKEN_MS) throw error;
      failures += 1;
      const waitMs = fullJitterMs(failures, BACKOFF, random, error.retryAfterMs ?? 0);
      if (waitMs >= call.deadline.remainingMs()) throw error;
      await sleep(waitMs, call.signal);
    }
  }
}

/** No backend knows the task, or knows fewer of its events than have been seen. */
function isLost({ code, reason }: ParleyError, { taskId }: TaskPosition, failures: number): boolean {
  if (reason === "reply-lost") return true;
  if (taskId === "") return false;
  return code === "not_found" || (code === "invalid_argument" && failures >= FUTURE_POSITIONS_MAX);
}

/** Whether it may be otherwise in a moment; a limit that is reached says so to who sends, and passes for who resumes. */
function isPassing({ code }: ParleyError, { taskId }: TaskPosition): boolean {
  return (
    code === "unavailable" || (taskId !== "" && ["resource_exhausted", "invalid_argument"].includes(code))
  );
}

/** Of the gateway's own making, and so without a sequence, and of no task any more: everything so far is void. */
function restartOf(message: A2AMessage): A2AMessage {
  return create(A2AMessageSchema, {
    senderId: message.receiverId,
    receiverId: message.senderId,
    contextId: message.contextId,
    inReplyTo: message.messageId,
    body: { case: "restart", value: create(RestartSchema, { discardAfterSequence: 0, reason: "task-lost" }) },
  });
}
