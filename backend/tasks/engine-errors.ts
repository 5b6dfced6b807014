/** What the task engine says to callers whose messages it does not take, or whose tasks it does not have. */
import { ParleyError } from "../../core/errors/parley-error.ts";

/** How long a caller should wait when the engine is full or draining. */
const BUSY_RETRY_AFTER_MS = 1_000;

/** The words are the same whether the agent does not exist or belongs to another tenant. */
export function agentNotFound(receiverId: string): ParleyError {
  return new ParleyError(
    "not_found",
    `no agent "${receiverId}"; GET /api/v1/agents lists those you can reach`,
  );
}

/** The words are the same whether the task does not exist or is somebody else's. */
export function taskNotFound(taskId: string): ParleyError {
  return new ParleyError(
    "not_found",
    `there is no task "${taskId}", or it ended too long ago to be followed`,
  );
}

/** One id for two messages. */
export function messageConflict(messageId: string): ParleyError {
  return new ParleyError(
    "conflict",
    `message id "${messageId}" was used for another message; give every message its own id`,
  );
}

/** The tenant's share of the tasks in flight is used up. */
export function tooManyInFlight(): ParleyError {
  return new ParleyError("resource_exhausted", "too many of your messages are being answered at the moment", {
    reason: "too-many-in-flight",
    retryable: true,
    retryAfterMs: BUSY_RETRY_AFTER_MS,
  });
}

/** The durable log has no room for another turn. */
export function logFull(): ParleyError {
  return new ParleyError("resource_exhausted", "too many messages wait to be recorded", {
    reason: "log-full",
    retryable: true,
    retryAfterMs: BUSY_RETRY_AFTER_MS,
  });
}

/** This backend ends. */
export function draining(): ParleyError {
  return new ParleyError("unavailable", "this backend is shutting down; try again", {
    reason: "draining",
    retryable: true,
    retryAfterMs: BUSY_RETRY_AFTER_MS,
  });
}

/** Another backend runs the task now. */
export function takenOver(): ParleyError {
  return new ParleyError("unavailable", "another backend has taken the task over", {
    reason: "taken-over",
    retryable: true,
    retryAfterMs: BUSY_RETRY_AFTER_MS,
  });
}

/** Every backend that ran it has died. */
export function givenUp(takeovers: number): ParleyError {
  return new ParleyError(
    "internal",
    `the task was given up after ${takeovers} backends ended while they ran it; report it with its request id`,
    { reason: "task-given-up" },
  );
}
