/** The open WebSockets of one session: frames go to all of them, silent ones are reaped, and ones that do not read cut. */
import type { DurableObjectState, WebSocket } from "@cloudflare/workers-types";
import type { Clock } from "../../core/resilience/deadline.ts";
import type { CloseCause } from "./close-codes.ts";
import { type Attachment, Connection } from "./connection.ts";
import type { Frame } from "./frame.ts";
import type { FrameLog } from "./frame-log.ts";
import type { SessionTimings } from "./session-limits.ts";

/** What the connections of a session touch. */
export interface ConnectionsOptions {
  readonly ctx: DurableObjectState;
  readonly log: FrameLog;
  readonly now: Clock;
  readonly timings: SessionTimings;
  /** The gateway closes a connection; for the log. */
  onClose(cause: CloseCause): void;
  /** A connection is gone, however it went; not called for one that its client has replaced. */
  onGone(connection: Connection): void;
}

/** See above. */
export class Connections {
  readonly #options: ConnectionsOptions;
  readonly #open = new Map<WebSocket, Connection>();
  #slowTimer: ReturnType<typeof setTimeout> | undefined;

  /** Finds the sockets that outlived an eviction. */
  constructor(options: ConnectionsOptions) {
    this.#options = options;
    for (const socket of options.ctx.getWebSockets()) {
      const connection = new Connection(socket, options.now);
      if (connection.isOpen) this.#open.set(socket, connection);
    }
  }

  get count(): number {
    return this.#open.size;
  }

  /** The open connections. */
  all(): Connection[] {
    return [...this.#open.values()];
  }

  /** The connection of a socket; undefined when it is closed already. */
  of(socket: WebSocket): Connection | undefined {
    return this.#open.get(socket);
  }

  /** Takes a socket; one that the same client still has open gives way. */
  accept(socket: WebSocket, attachment: Attachment): Connection {
    for (const [other, connection] of this.#open) {
      if (connection.clientId !== attachment.clientId) continue;
      this.#open.delete(other);
      connection.close("replaced");
    }
    this.#options.ctx.acceptWebSocket(socket);
    const connection = new Connection(socket, this.#options.now, attachment);
    this.#open.set(socket, connection);
    return connection;
  }

  /** Sends a frame that has just been made to everybody. */
  broadcast(frame: Frame): void {
    for (const connection of this.#open.values()) connection.offer(frame, this.#options.log);
    this.#watchSlowOnes();
  }

  /** Sends a connection what it lacks. */
  catchUp(connection: Connection): void {
    connection.pump(this.#options.log);
    this.#watchSlowOnes();
  }

  /** A socket has closed. */
  closed(socket: WebSocket): void {
    const connection = this.#open.get(socket);
    if (!connection) return;
    this.#open.delete(socket);
    this.#options.onGone(connection);
  }

  /** Closes a socket and forgets it. */
  close(socket: WebSocket, cause: CloseCause): void {
    const connection = this.#open.get(socket);
    if (!connection) return;
    this.#options.onClose(cause);
    connection.close(cause);
    this.closed(socket);
  }

  /** Closes everything. */
  closeAll(cause: CloseCause): void {
    for (const socket of [...this.#open.keys()]) this.close(socket, cause);
  }

  /** Closes connections that have been silent for too long; the others will be looked at less often. */
  reapSilent(): void {
    const silentSinceMs = this.#options.now() - this.#options.timings.silentMs;
    for (const [socket, connection] of this.#open) {
      if (this.#heardAtMs(socket, connection) <= silentSinceMs) this.close(socket, "silent");
      else connection.isAlive();
    }
  }

  /** When a connection has to be looked at next; undefined without any. */
  nextReapAtMs(): number | undefined {
    const { silentMs } = this.#options.timings;
    const dueAtMs = [...this.#open].map(
      ([socket, connection]) => this.#heardAtMs(socket, connection) + connection.nextLookMs(silentMs),
    );
    return dueAtMs.length === 0 ? undefined : Math.min(...dueAtMs);
  }

  #heardAtMs(socket: WebSocket, connection: Connection): number {
    return connection.heardAtMs(this.#options.ctx.getWebSocketAutoResponseTimestamp(socket));
  }

  /** There is no event for "there is room again": while a connection has none, it is looked at now and then. */
  #watchSlowOnes(): void {
    if (this.#slowTimer !== undefined) return;
    if (!this.all().some(({ fullSinceMs }) => fullSinceMs !== undefined)) return;
    this.#slowTimer = setTimeout(() => {
      this.#slowTimer = undefined;
      this.#serveSlowOnes();
      this.#watchSlowOnes();
    }, this.#options.timings.slowReaderPollMs);
  }

  #serveSlowOnes(): void {
    const cutSinceMs = this.#options.now() - this.#options.timings.slowReaderMs;
    for (const [socket, connection] of this.#open) {
      if (connection.fullSinceMs === undefined) continue;
      connection.pump(this.#options.log);
      if ((connection.fullSinceMs ?? Number.POSITIVE_INFINITY) <= cutSinceMs) this.close(socket, "tooSlow");
    }
  }
}
