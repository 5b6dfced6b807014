/** The calls of models that a reply took, as its metadata shows them to callers who may know. */
import type { JsonObject } from "@bufbuild/protobuf";
import type { ModelAttempt } from "../llm/answer-event.ts";

/** In the order in which they ended; times in whole milliseconds. */
export function shownAttempts(attempts: readonly ModelAttempt[]): JsonObject[] {
  return attempts.map(({ model, outcome, startedAfterMs, durationMs, firstTokenMs, usage }) => ({
    model,
    outcome,
    startedAfterMs: Math.round(startedAfterMs),
    durationMs: Math.round(durationMs),
    ...(firstTokenMs === undefined ? {} : { firstTokenMs: Math.round(firstTokenMs) }),
    ...(usage === undefined ? {} : { usage: { ...usage } }),
  }));
}
