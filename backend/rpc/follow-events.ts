/** Follows a task's events for a call, which may ask for its deltas to be put together. */
import { create } from "@bufbuild/protobuf";
import { ParleyError } from "../../core/errors/parley-error.ts";
import {
  DELTA_INTERVAL_HEADER,
  DELTA_INTERVAL_MS_MAX,
  deltaTextsOf,
} from "../../core/messages/joined-deltas.ts";
import type { Clock } from "../../core/resilience/deadline.ts";
import {
  type A2AMessage,
  A2AMessageSchema,
  DeltasSchema,
} from "../../proto/gen/parley/v1/agent_service_pb.js";
import type { EventLog } from "../tasks/event-log.ts";

/** Of one message: what comes in an interval is less, and what is caught up with may be everything. */
const DELTAS_PER_MESSAGE_MAX = 256;
/** And their length together past which no more are added: one by itself may be much longer. */
const DELTA_CHARACTERS_FULL = 64 * 1_024;

/** What to follow, from where, and how. */
export interface FollowedEvents {
  readonly events: EventLog;
  readonly afterSequence: number;
  /** Between two messages with deltas; undefined when each event is a message. */
  readonly deltaIntervalMs: number | undefined;
  /** Monotonic, milliseconds. */
  readonly now: Clock;
  readonly signal: AbortSignal;
}

/**
 * What a call asks for in its headers.
 *
 * @throws ParleyError `invalid_argument` when it is not a whole number in range
 */
export function deltaIntervalOf(headers: Headers): number | undefined {
  const text = headers.get(DELTA_INTERVAL_HEADER);
  if (text === null) return undefined;
  const intervalMs = /^\d{1,4}$/.test(text) ? Number(text) : 0;
  if (intervalMs >= 1 && intervalMs <= DELTA_INTERVAL_MS_MAX) return intervalMs;
  throw new ParleyError(
    "invalid_argument",
    `${DELTA_INTERVAL_HEADER} must be a whole number from 1 to ${DELTA_INTERVAL_MS_MAX}`,
  );
}

/** As {@link EventLog.follow}; a delta that comes after a pause is not held back, and no event that is not a delta is. */
export async function* followEvents(followed: FollowedEvents): AsyncGenerator<A2AMessage, void, undefined> {
  const { events, afterSequence, deltaIntervalMs, now, signal } = followed;
  if (deltaIntervalMs === undefined) return yield* events.follow(afterSequence, signal);
  let position = afterSequence;
  let dueAtMs = Number.NEGATIVE_INFINITY;
  while (true) {
    const next = await events.follow(position, signal).next();
    if (next.done) return;
    const isDelta = next.value.body.case === "delta";
    const run = isDelta ? await deltasFrom(next.value, followed, dueAtMs) : [next.value];
    position += run.length;
    if (isDelta) dueAtMs = now() + deltaIntervalMs;
    yield joined(run);
  }
}

/** A delta and those that follow it, until a moment, or until what follows is something else. */
async function deltasFrom(
  first: A2AMessage,
  { events, now, signal }: FollowedEvents,
  dueAtMs: number,
): Promise<A2AMessage[]> {
  const run = [first];
  let characters = lengthOf(first);
  while (true) {
    let next = events.at(first.sequence + run.length - 1);
    while (next?.body.case === "delta" && hasRoom(run, characters)) {
      run.push(next);
      characters += lengthOf(next);
      next = events.at(first.sequence + run.length - 1);
    }
    const waitMs = dueAtMs - now();
    if (next || events.ended || events.isBroken || waitMs <= 0) return run;
    await events.nextAppend(signal, { limitMs: waitMs, wanted: ({ body }) => body.case !== "delta" });
  }
}

function hasRoom({ length }: readonly A2AMessage[], characters: number): boolean {
  return length < DELTAS_PER_MESSAGE_MAX && characters < DELTA_CHARACTERS_FULL;
}

function lengthOf({ body }: A2AMessage): number {
  return body.case === "delta" ? body.value.length : 0;
}

function joined(run: readonly A2AMessage[]): A2AMessage {
  const last = run.at(-1) as A2AMessage;
  if (run.length === 1) return last;
  const texts = run.flatMap((event) => deltaTextsOf(event) ?? []);
  return create(A2AMessageSchema, {
    ...last,
    body: { case: "deltas", value: create(DeltasSchema, { texts }) },
  });
}
