/** The port to the backend: one message in, its reply out, whole or as events; and what becomes of its task. */
import type { Principal } from "../../core/auth/principal.ts";
import type { TraceContext } from "../../core/messages/trace-context.ts";
import type { Deadline } from "../../core/resilience/deadline.ts";
import type { Task } from "../../proto/gen/lf/a2a/v1/a2a_pb.js";
import type { A2AMessage } from "../../proto/gen/parley/v1/agent_service_pb.js";

/** For whom, in which request and how long a call is made. */
export interface BackendCall {
  readonly principal: Principal;
  readonly requestId: string;
  /** Network address of the caller, where it is to be recorded. */
  readonly address?: string;
  readonly trace: TraceContext;
  /** For all attempts together; what is left of it is handed on with each one. */
  readonly deadline: Deadline;
  /** Ends the call; its reason is what the call then throws. The task on the backend goes on. */
  readonly signal: AbortSignal;
  /** Of events: milliseconds between two with deltas, several of which then come as one; see `joined-deltas.ts`. */
  readonly deltaIntervalMs?: number;
  /** Told before each attempt, for the log: the address and the number of the attempt, from 1. */
  onAttempt(address: string, attempt: number): void;
  /** Told, before the first event, that the message had been sent before, by another request: it is charged there. */
  onKnownTask?(): void;
}

/** A task, and a place in its events. */
export interface TaskPosition {
  readonly taskId: string;
  /** The last event that is known; 0 for none. */
  readonly afterSequence: number;
}

/**
 * Sends admitted messages: `message_id` must be set, as an attempt that failed on the way is made again and the
 * backend runs a message id once. All failures are ParleyError.
 */
export interface AgentBackend {
  /** The whole reply. */
  processMessage(message: A2AMessage, call: BackendCall): Promise<A2AMessage>;
  /**
   * The events of the reply, in order, without gap or repeat, the last one ending its task. A connection that breaks
   * is replaced while the request has time; a failure that is thrown has outlasted that. Returning early ends the call.
   */
  streamReply(message: A2AMessage, call: BackendCall): AsyncGenerator<A2AMessage, void, undefined>;
  /** The first event of the reply, `accepted`: the task goes on whoever follows it. */
  startReply(message: A2AMessage, call: BackendCall): Promise<A2AMessage>;
  /**
   * The events of a task of the caller's after a position, then live to its end, otherwise as `streamReply`; none
   * when the task has ended at that position.
   * `not_found` for tasks that are not the caller's, `invalid_argument` for a position that is in the future.
   */
  resumeReply(position: TaskPosition, call: BackendCall): AsyncGenerator<A2AMessage, void, undefined>;
  /** Stops a task of the caller's, and gives its last event. `not_found` for tasks that are not. */
  cancelReply(taskId: string, call: BackendCall): Promise<A2AMessage>;
  /** A task of the caller's as it stands. `not_found` for tasks that are not. */
  getTask(taskId: string, call: BackendCall): Promise<Task>;
}
