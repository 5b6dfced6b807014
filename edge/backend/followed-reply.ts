/**
 * The events of one task as one stream, however often the connection to it breaks: goes on from the last event that
 * came, wherever the task is found, until the request's time is up. A backend that dies is replaced within seconds;
 * who follows the task notices nothing but a pause, and the `restart` of the answer. No event is missing or repeated.
 */
import { Code, ConnectError } from "@connectrpc/connect";
import { type ErrorCode, ParleyError } from "../../core/errors/parley-error.ts";
import { deltaTextsOf } from "../../core/messages/joined-deltas.ts";
import { deadlineExceeded } from "../../core/resilience/deadline.ts";
import { fullJitterMs, sleep } from "../../core/resilience/full-jitter.ts";
import type { A2AMessage } from "../../proto/gen/parley/v1/agent_service_pb.js";
import type { BackendCall, TaskPosition } from "./agent-backend.ts";
import type { OpenStream } from "./backend-address.ts";
import { toBackendFailure } from "./backend-failure.ts";
import { endsTask } from "./ends-task.ts";
import { reportFailure } from "./try-addresses.ts";

/** Between two tries: often enough to be there soon after another backend has taken the task over. */
const BACKOFF = { baseMs: 100, capMs: 1_000 };

/**
 * What may be otherwise in a moment: nobody answers, no room, or a position that is in the future, as a task's events
 * may reach the store, from which another backend goes on, later than those who follow it.
 */
const PASSING_FAILURES: readonly ErrorCode[] = ["unavailable", "resource_exhausted", "invalid_argument"];

/** How a reply is followed. */
export interface FollowOptions {
  readonly call: BackendCall;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  /** The first call; what it throws is thrown. */
  readonly open: () => Promise<OpenStream>;
  /** A call that goes on where another one broke. */
  readonly resume: (position: TaskPosition) => Promise<OpenStream>;
  /** What the first call was asked to begin after. */
  readonly afterSequence: number;
}

/** Where a stream stands. */
interface Progress {
  last: A2AMessage | undefined;
  sequence: number;
  /** Since an event came. */
  failures: number;
}

/** @throws ParleyError when the first call fails, a later one for good, or the request's time is up */
export async function* followReply(options: FollowOptions): AsyncGenerator<A2AMessage, void, undefined> {
  const { call, random, open, resume, afterSequence } = options;
  const progress: Progress = { last: undefined, sequence: afterSequence, failures: 0 };
  let stream: OpenStream | undefined = await open();
  while (true) {
    try {
      stream ??= await resume({ taskId: progress.last?.taskId ?? "", afterSequence: progress.sequence });
      yield* newEvents(stream, progress);
      if (!progress.last || endsTask(progress.last)) return;
      throw new ConnectError("the stream ended before its task", Code.Unavailable);
    } catch (cause) {
      const failure = toBackendFailure(cause, call.signal);
      if (stream) reportFailure(stream.address.breaker, failure);
      if (progress.last && endsTask(progress.last)) return;
      if (!progress.last?.taskId || !PASSING_FAILURES.includes(failure.error.code))
        throw lost(failure.error, progress);
      progress.failures += 1;
      const waitMs = fullJitterMs(progress.failures, BACKOFF, random);
      if (waitMs >= call.deadline.remainingMs()) throw deadlineExceeded(failure.error);
      await sleep(waitMs, call.signal);
    } finally {
      stream?.close();
      stream = undefined;
    }
  }
}

/** The events of one connection that have not come by another one. */
async function* newEvents(stream: OpenStream, progress: Progress): AsyncGenerator<A2AMessage> {
  let next = stream.first;
  while (!next.done) {
    const event = next.value;
    const isNew = event.sequence === 0 || event.sequence > progress.sequence;
    const before = event.sequence - (deltaTextsOf(event)?.length ?? 1);
    if (before > progress.sequence) {
      throw new ConnectError("events of the task are missing", Code.Unavailable);
    }
    if (isNew) {
      if (event.body.case === "deltas") event.body.value.texts.splice(0, progress.sequence - before);
      progress.last = event;
      progress.sequence = event.sequence || progress.sequence;
      progress.failures = 0;
      yield event;
    }
    next = await stream.rest.next();
  }
}

/** A task that was there and that nobody knows any more is no mistake of the caller's. */
function lost(error: ParleyError, { last }: Progress): ParleyError {
  if (!last || error.code !== "not_found") return error;
  return new ParleyError("unavailable", "the agent service lost the reply; send the message again", {
    reason: "reply-lost",
    retryable: true,
    cause: error,
  });
}
