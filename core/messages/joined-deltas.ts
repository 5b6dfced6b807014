/**
 * Deltas that are put together on the way from a backend to who follows a task there, because they asked for it: what
 * reads them handles each message at a cost of its own, and puts them together anyway.
 */
import type { A2AMessage } from "../../proto/gen/parley/v1/agent_service_pb.js";

/** Header of a call that is answered by a task's events: milliseconds between two of its messages with deltas. */
export const DELTA_INTERVAL_HEADER = "parley-delta-interval-ms";
/** More would look as if nothing came. */
export const DELTA_INTERVAL_MS_MAX = 1_000;

/** The texts of one delta, or of several that were put together; undefined of another event. */
export function deltaTextsOf({ body }: A2AMessage): readonly string[] | undefined {
  if (body.case === "delta") return [body.value];
  return body.case === "deltas" ? body.value.texts : undefined;
}
