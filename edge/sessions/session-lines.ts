/** What sessions write to the log: a line for each turn, as a request over HTTP has one, and for each closing. */
import type { Composition } from "../composition.ts";
import { LOG_LEVELS } from "../env.ts";
import { jsonLine } from "../http/json-line.ts";
import { CLOSINGS, type CloseCause } from "./close-codes.ts";
import type { RunningTurn } from "./running-turn.ts";
import type { Session } from "./session.ts";

/** Longest receiver that is logged: as long as the contract allows. */
const RECEIVER_CHARACTERS_MAX = 128;

/** A turn has ended. Undefined when the configured level is above it. */
export function turnLine(session: Session, turn: RunningTurn, composition: Composition): string | undefined {
  const { requestId, traceparent, startedAtMs } = turn.record;
  return infoLine("turn", session, composition, {
    requestId,
    traceId: traceparent.split("-")[1],
    receiver: turn.message.receiverId.slice(0, RECEIVER_CHARACTERS_MAX),
    taskId: turn.taskId,
    durationMs: composition.now() - startedAtMs,
    code: turn.failure,
  });
}

/** The gateway has closed a connection. Undefined when the configured level is above it. */
export function closeLine(session: Session, cause: CloseCause, composition: Composition): string | undefined {
  const { closeCode, reason } = CLOSINGS[cause];
  return infoLine("connection closed", session, composition, { closeCode, reason });
}

function infoLine(
  msg: string,
  session: Session,
  { config, now }: Composition,
  fields: object,
): string | undefined {
  if (LOG_LEVELS.indexOf("info") < LOG_LEVELS.indexOf(config.logLevel)) return undefined;
  const { tenantId, subject, keyId } = session.owner.principal;
  const time = new Date(now()).toISOString();
  return jsonLine({ level: "info", time, msg, sessionId: session.id, tenantId, subject, keyId, ...fields });
}
