/** From where a caller wants to follow a task: `?after=N`, or `Last-Event-ID` of a client that has followed it before. */
import { ParleyError } from "../../core/errors/parley-error.ts";

/** Positions are 32-bit numbers without sign. */
const SEQUENCE_MAX = 2 ** 32 - 1;
const SHOWN_CHARACTERS_MAX = 40;

/** Where a request says so. */
export interface PositionSource {
  /** The query parameter. */
  after: string | undefined;
  /** The header; browsers add it when they connect again to the same URL, so it is the newer of the two. */
  lastEventId: string | undefined;
}

/**
 * The sequence of the last event that the caller has; 0 for none.
 *
 * @throws ParleyError `invalid_argument` for what is no position, also in the one of the two that does not count
 */
export function taskPosition({ after, lastEventId }: PositionSource): number {
  const fromQuery = after === undefined ? undefined : sequenceOf("`after`", after);
  // An empty id is how an event source says that it has none.
  const fromHeader = lastEventId ? sequenceOf("`Last-Event-ID`", lastEventId) : undefined;
  return fromHeader ?? fromQuery ?? 0;
}

function sequenceOf(name: string, text: string): number {
  const sequence = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN;
  if (sequence <= SEQUENCE_MAX) return sequence;
  const shown = text.length > SHOWN_CHARACTERS_MAX ? `${text.slice(0, SHOWN_CHARACTERS_MAX)}…` : text;
  throw new ParleyError(
    "invalid_argument",
    `${name} must be the sequence of an event, a whole number from 0 to ${SEQUENCE_MAX}, not "${shown}"`,
  );
}
