/**
 * One numbered frame of a session: an event, or deltas of one turn that were put together. A frame can be cut after
 * any of its deltas, because a client may have got the first of them in a frame that ended there.
 */
import type { JsonObject } from "@bufbuild/protobuf";

/** See above. */
export interface Frame {
  /** Numbers of its first and its last event; equal but for deltas. */
  readonly first: number;
  readonly last: number;
  /** The envelope; of deltas that of the last one, without its text. */
  readonly envelope: JsonObject;
  /** The texts, in order; only of deltas. */
  readonly deltas?: readonly string[];
}

/** A frame without numbers: how it is stored, and how it is before it gets them. */
export type FrameBody = Pick<Frame, "envelope" | "deltas">;

/** How many events a frame is made of. */
export function eventCountOf({ deltas }: FrameBody): number {
  return deltas?.length ?? 1;
}

/**
 * The frame as a client gets it that has everything up to `after`.
 *
 * @param after below the frame's last number
 */
export function renderFrame({ first, last, envelope, deltas }: Frame, after: number): string {
  const sessionEvents = last - Math.max(after, first - 1);
  const shown = deltas?.slice(-sessionEvents) ?? [];
  const metadata = {
    ...(envelope["metadata"] as JsonObject | undefined),
    sessionSequence: last,
    ...(sessionEvents > 1 && { sessionEvents }),
    // A restart may void some of them and not the others.
    ...(shown.length > 1 && { deltaLengths: shown.map(({ length }) => length) }),
  };
  const delta = deltas && { delta: shown.join("") };
  return JSON.stringify({ ...envelope, ...delta, metadata });
}
