/** The line in the log of one turn of a session, as a request over HTTP has one. */
import type { Composition } from "../composition.ts";
import { LOG_LEVELS } from "../env.ts";
import { jsonLine } from "../http/json-line.ts";
import type { RunningTurn } from "./running-turn.ts";
import type { Session } from "./session.ts";

/** Longest receiver that is logged: as long as the contract allows. */
const RECEIVER_CHARACTERS_MAX = 128;

/** Undefined when the configured level is above it. */
export function turnLine(
  session: Session,
  turn: RunningTurn,
  { config, now }: Composition,
): string | undefined {
  if (LOG_LEVELS.indexOf("info") < LOG_LEVELS.indexOf(config.logLevel)) return undefined;
  const { tenantId, subject, keyId } = session.owner.principal;
  const { requestId, traceparent, startedAtMs } = turn.record;
  return jsonLine({
    level: "info",
    time: new Date(now()).toISOString(),
    msg: "turn",
    requestId,
    traceId: traceparent.split("-")[1],
    sessionId: session.id,
    ...{ tenantId, subject, keyId },
    receiver: turn.message.receiverId.slice(0, RECEIVER_CHARACTERS_MAX),
    taskId: turn.taskId,
    durationMs: now() - startedAtMs,
    code: turn.failure,
  });
}
