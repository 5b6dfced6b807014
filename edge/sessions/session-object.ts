/**
 * The Durable Object of a session: what the runtime calls, handed on to the session in memory. It hibernates: nothing
 * here waits or ticks while there is nothing to do, and whatever is in memory can be gone at the next call.
 */

import { DurableObject } from "cloudflare:workers";
import type {
  DurableObjectState,
  Request as WorkerRequest,
  Response as WorkerResponse,
  WebSocket as WorkerWebSocket,
} from "@cloudflare/workers-types";
import { hashSecret } from "../../core/auth/api-key.ts";
import type { Principal } from "../../core/auth/principal.ts";
import { type ParleyError, toParleyError } from "../../core/errors/parley-error.ts";
import type { Compose } from "../composition.ts";
import type { Delivered } from "../peers/mailbox-rpc.ts";
import { callerOf } from "./caller-sessions.ts";
import { readClientFrame } from "./client-frame.ts";
import { errorFrame, tooMany } from "./error-frame.ts";
import { openConnection } from "./open-connection.ts";
import {
  notAuthenticated,
  OPENING_HEADER,
  type Opening,
  type Refusal,
  sessionNotFound,
  toRefusal,
} from "./opening.ts";
import { Session } from "./session.ts";
import { FRAMES_PER_SECOND_MAX, type SessionTimings } from "./session-limits.ts";
import { closeLine, turnLine } from "./session-lines.ts";
import { isSameCaller, type SessionOwner } from "./session-owner.ts";
import { addSessionRecord } from "./session-record.ts";
import { createSessionTables, hasSessionTables, upgradeSessionTables } from "./session-schema.ts";
import { formatSessionToken, newSecret, newSessionId, SUBPROTOCOL } from "./session-token.ts";
import type { SessionAdmission } from "./session-view.ts";

/** What the class is made with; the runtime makes its objects. */
export interface SessionObjectParts {
  readonly compose: Compose;
  readonly writeLine: (line: string) => void;
  readonly timings: SessionTimings;
}

/** What the Worker calls, beside `fetch` for connections. */
export interface SessionRpc {
  /** Begins the session, or adds a client to it when it is the same caller's. */
  admit(
    sessionId: string,
    owner: SessionOwner,
    isNew: boolean,
  ): Promise<SessionAdmission | { refusal: Refusal }>;
  /** Ends it for good; undefined when it was the caller's. */
  end(principal: Principal): Promise<{ refusal: Refusal } | undefined>;
  /** The credential behind it is no longer good. */
  endCredential(): Promise<void>;
  /** Messages for its caller, who is a peer, in order; false when the session is over. */
  deliver(items: readonly Delivered[]): Promise<boolean>;
  /** What has become of messages that were sent to a peer; false when the session is over. */
  tell(events: readonly string[]): Promise<boolean>;
}

/** Makes the class that the Worker exports. */
export function defineSessionObject({ compose, writeLine, timings }: SessionObjectParts) {
  return class SessionObject extends DurableObject<object> implements SessionRpc {
    #session: Session | undefined;

    constructor(ctx: DurableObjectState, env: object) {
      super(ctx, env);
      // Answered by the runtime, without waking the object.
      ctx.setWebSocketAutoResponse(new WebSocketRequestResponsePair("ping", "pong"));
      if (!hasSessionTables(ctx.storage.sql)) return;
      upgradeSessionTables(ctx.storage.sql);
      this.#session = this.#load();
    }

    async admit(sessionId: string, owner: SessionOwner, isNew: boolean) {
      try {
        const session = this.#admitted(sessionId, owner, isNew);
        const { tenantId } = owner.principal;
        const [clientId, ticket, resume] = [newSessionId(), newSecret(), newSecret()];
        const [ticketSha256, resumeSha256] = await Promise.all([hashSecret(ticket), hashSecret(resume)]);
        session.clients.add({ clientId, ticketSha256, resumeSha256, acknowledged: session.log.head });
        session.scheduleAlarm();
        const token = { tenantId, sessionId, clientId };
        return {
          sessionId,
          ticket: formatSessionToken({ kind: "ticket", ...token, secret: ticket }),
          ticketExpiresInSeconds: timings.ticketMs / 1000,
          resumeToken: formatSessionToken({ kind: "resume", ...token, secret: resume }),
          resumeExpiresInSeconds: timings.idleMs / 1000,
        };
      } catch (error) {
        return { refusal: toRefusal(toParleyError(error)) };
      }
    }

    async end(principal: Principal) {
      if (!this.#session || !isSameCaller(this.#session.owner.principal, principal)) {
        return { refusal: toRefusal(sessionNotFound()) };
      }
      await this.#delete();
      return undefined;
    }

    async endCredential() {
      const owner = await this.#session?.recheckOwner();
      if (!owner) this.#session?.end("credentialEnded");
    }

    async deliver(items: readonly Delivered[]) {
      await this.#session?.peers.deliver(items);
      return this.#session !== undefined;
    }

    async tell(events: readonly string[]) {
      await this.#session?.peers.tell(events);
      return this.#session !== undefined;
    }

    async fetch(request: WorkerRequest): Promise<WorkerResponse> {
      const opening = JSON.parse(decodeURIComponent(request.headers.get(OPENING_HEADER) ?? "")) as Opening;
      try {
        const session = this.#opened(opening);
        await callerOf(this.env, session.owner.principal).connected(
          session.owner.principal,
          session.id,
          true,
        );
        const { requestBytesMax } = compose(this.env).config;
        const { 0: client, 1: server } = new WebSocketPair();
        await openConnection(session, {
          opening,
          timings,
          frameBytesMax: requestBytesMax,
          makeSocket: () => server,
        });
        const isOffered = request.headers.has("sec-websocket-protocol");
        return new Response(null, {
          status: 101,
          webSocket: client,
          headers: isOffered ? { "Sec-WebSocket-Protocol": SUBPROTOCOL } : {},
        } as ResponseInit) as unknown as WorkerResponse;
      } catch (error) {
        return Response.json(toRefusal(toParleyError(error)), { status: 400 }) as unknown as WorkerResponse;
      }
    }

    async webSocketMessage(socket: WorkerWebSocket, data: string | ArrayBuffer): Promise<void> {
      const session = this.#session;
      const connection = session?.connections.of(socket);
      if (!session || !connection) return;
      connection.hear();
      const verdict = connection.rate.take();
      const requestId = crypto.randomUUID();
      if (verdict === "close") session.connections.close(socket, "tooManyFrames");
      if (verdict === "refuse") connection.sendUnnumbered(errorFrame(frameRateExceeded(), { requestId }));
      if (verdict !== "admit") return;
      try {
        const frame = readClientFrame(data, compose(this.env).config.requestBytesMax);
        await session.handle(connection, frame);
      } catch (error) {
        connection.sendUnnumbered(errorFrame(toParleyError(error), { requestId }));
      }
    }

    async webSocketClose(socket: WorkerWebSocket): Promise<void> {
      this.#session?.connections.closed(socket);
      try {
        // A hibernating socket's closing is not answered by itself, whatever the compatibility date says.
        socket.close();
      } catch {
        // It was the gateway that closed it.
      }
    }

    async webSocketError(socket: WorkerWebSocket): Promise<void> {
      this.#session?.connections.closed(socket);
    }

    async alarm(): Promise<void> {
      if (this.#session && !(await this.#session.onAlarm())) await this.#delete();
    }

    #load(): Session {
      const composition = compose(this.env);
      const write = (line: string | undefined) => line && writeLine(line);
      return new Session({
        ctx: this.ctx,
        env: this.env,
        composition,
        timings,
        onTurnEnd: (session, turn) => write(turnLine(session, turn, composition)),
        onClose: (session, cause) => write(closeLine(session, cause, composition)),
        onDeserted: ({ id, owner }) => {
          this.ctx.waitUntil(
            callerOf(this.env, owner.principal)
              .connected(owner.principal, id, false)
              .catch(() => {}),
          );
        },
      });
    }

    #opened(opening: Opening): Session {
      if (opening.by === "caller") return this.#admitted(opening.sessionId, opening.owner, opening.isNew);
      if (!this.#session) throw notAuthenticated();
      return this.#session;
    }

    #admitted(sessionId: string, owner: SessionOwner, isNew: boolean): Session {
      const { ctx } = this;
      if (isNew && !this.#session) {
        createSessionTables(ctx.storage.sql);
        addSessionRecord(ctx.storage.sql, { sessionId, owner, seenAtMs: Date.now() });
        this.#session = this.#load();
        this.#session.scheduleAlarm();
      }
      if (!this.#session || !isSameCaller(this.#session.owner.principal, owner.principal)) {
        throw sessionNotFound();
      }
      this.#session.adopt(owner);
      return this.#session;
    }

    async #delete(): Promise<void> {
      const session = this.#session;
      if (!session) return;
      this.#session = undefined;
      session.end("ended");
      await this.ctx.storage.deleteAlarm();
      await this.ctx.storage.deleteAll();
      await callerOf(this.env, session.owner.principal).removed(session.id);
    }
  };
}

function frameRateExceeded(): ParleyError {
  return tooMany(
    "frame-rate",
    `more than ${FRAMES_PER_SECOND_MAX} frames a second; frames since then have not been looked at`,
  );
}
