/**
 * Opens a connection of a session: by what right, from which number, with which first frame. What waits is done
 * before; what changes anything is one step, so that a ticket cannot be spent twice.
 */
import type { WebSocket } from "@cloudflare/workers-types";
import { hashSecret } from "../../core/auth/api-key.ts";
import { tooMany } from "./error-frame.ts";
import { notAuthenticated, type Opening, sessionNotFound } from "./opening.ts";
import type { Session } from "./session.ts";
import { type SessionTimings, SOCKETS_MAX } from "./session-limits.ts";
import { isSameCaller } from "./session-owner.ts";
import { formatSessionToken, newSecret, newSessionId } from "./session-token.ts";
import { clientLimits } from "./session-view.ts";

/** What an opening needs beside the session. */
export interface OpenConnectionOptions {
  readonly opening: Opening;
  readonly timings: SessionTimings;
  readonly frameBytesMax: number;
  /** Makes the pair of sockets and takes the gateway's end of it. */
  makeSocket(): WebSocket;
}

/** @throws ParleyError when the connection may not be opened; then nothing has changed */
export async function openConnection(session: Session, options: OpenConnectionOptions): Promise<void> {
  const { opening, timings, frameBytesMax, makeSocket } = options;
  const owner = opening.by === "caller" ? opening.owner : await session.recheckOwner();
  if (!owner) throw notAuthenticated();
  const next = newSecret();
  const [presentedSha256, nextSha256] = await Promise.all([
    opening.by === "caller" ? "" : hashSecret(opening.secret),
    hashSecret(next),
  ]);
  const clientId = opening.by === "caller" ? newSessionId() : opening.clientId;
  const others = session.connections.all().filter((connection) => connection.clientId !== clientId);
  if (others.length >= SOCKETS_MAX) {
    throw tooMany("too-many-sockets", `this session has ${SOCKETS_MAX} connections; close one of them`);
  }
  claimClient(session, opening, { clientId, presentedSha256, nextSha256 });

  const { after = opening.by === "resume" ? session.clients.acknowledgedBy(clientId) : session.log.head } =
    opening;
  session.clients.connected(clientId, nextSha256);
  const { keptFrom, head } = session.log;
  const cursor = Math.max(after, keptFrom - 1);
  const socket = makeSocket();
  const connection = session.connections.accept(socket, { clientId, cursor, heardAtMs: Date.now() });
  if (after > Math.max(head, session.catchUp.highest)) {
    session.connections.close(socket, "positionUnknown");
    return;
  }
  const { tenantId } = owner.principal;
  const firstFrame = {
    id: session.id,
    resumeToken: formatSessionToken({
      kind: "resume",
      tenantId,
      sessionId: session.id,
      clientId,
      secret: next,
    }),
    resumeExpiresInSeconds: timings.idleMs / 1000,
    after: cursor,
    head,
    acknowledged: session.clients.acknowledgedBy(clientId),
    turns: session.turns
      .underWay()
      .map(({ messageId, taskId, contextId }) => ({ messageId, taskId, contextId })),
    limits: clientLimits(frameBytesMax),
    ...(cursor > after && {
      missed: { from: after + 1, to: cursor, tasks: session.tasksAmong(after + 1, cursor) },
    }),
  };
  connection.sendUnnumbered(JSON.stringify({ metadata: { session: firstFrame } }));
  session.connected(connection);
}

/** Finds out which client it is, or makes it one. @throws ParleyError when it has no right to be here */
function claimClient(
  session: Session,
  opening: Opening,
  { clientId, presentedSha256, nextSha256 }: Record<"clientId" | "presentedSha256" | "nextSha256", string>,
): void {
  if (opening.by === "caller") {
    if (!isSameCaller(session.owner.principal, opening.owner.principal)) throw sessionNotFound();
    session.adopt(opening.owner);
    session.clients.add({
      clientId,
      ticketSha256: undefined,
      resumeSha256: nextSha256,
      acknowledged: opening.after ?? session.log.head,
    });
    return;
  }
  const isGood =
    opening.by === "ticket"
      ? session.clients.spendTicket(clientId, presentedSha256)
      : session.clients.useResumeToken(clientId, presentedSha256);
  if (!isGood) throw notAuthenticated();
}
