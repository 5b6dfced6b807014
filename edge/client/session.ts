/**
 * A session as a program uses it (protocol: `docs/sessions.md`). States: `connecting` (asks for a ticket or opens),
 * `open`, `waiting` (until the next attempt), `closed` (by the program, or for good). Only `closed` is final.
 */
import { backoffMs, onOffline, waitOrOnline } from "./backoff.ts";
import { aborted, ClientError, unreachable } from "./client-error.ts";
import { BROKEN, Connection, type FirstFrame, type Missed } from "./connection.ts";
import type { Admission, HttpCalls } from "./http-calls.ts";
import type { IncomingMessage, OutgoingMessage } from "./message.ts";
import { RecentIds } from "./recent-ids.ts";
import { SessionPosition } from "./session-position.ts";
import { SessionTurns } from "./session-turns.ts";
import type { Turn } from "./turn.ts";

/** Closes before the first frame, in a row, after which a new ticket is asked for. */
const REFUSALS_PER_TICKET = 2;
const FLOOD_WAIT_MS = 30_000;
/** A connection that lasted so long was a good one; one that ends before counts as a failure. */
const STABLE_MS = 5_000;

/** See the file. */
export type SessionState = "connecting" | "open" | "waiting" | "closed";

/** Gets a ticket: from your own server, say. `sessionId` is there when the session goes on. */
export type TicketProvider = (sessionId: string | undefined, signal: AbortSignal) => Promise<Admission>;

/** What is told of a session while it lasts. */
export interface SessionListeners {
  /** A peer's or another agent's message that answers nothing of this session. */
  onMessage?(message: IncomingMessage): void;
  onState?(state: SessionState): void;
  /** An error about a frame or the connection, not about a turn. */
  onError?(error: ClientError): void;
}

/** What a session is made of. */
export interface SessionOptions extends SessionListeners {
  readonly url: string;
  readonly http: HttpCalls;
  readonly ticketProvider: TicketProvider;
  readonly WebSocket: typeof WebSocket;
  readonly random: () => number;
  /** An earlier session to come back to, or to share. */
  readonly sessionId?: string | undefined;
  /** Closes the session when it aborts. */
  readonly signal?: AbortSignal | undefined;
}

/** See the file. Made by `client.connect`. */
export class Session {
  readonly #options: SessionOptions;
  readonly #controller = new AbortController();
  readonly #turns: SessionTurns;
  readonly #position: SessionPosition;
  /** A peer's message comes again when its acknowledgement was lost. */
  readonly #told = new RecentIds();
  #connection: Connection | undefined;
  #id: string | undefined;
  #path = "/ws/v1/a2a/stream";
  #token: string | undefined;
  #state: SessionState = "waiting";
  #failures = 0;
  /** Closes before the first frame, in a row. */
  #refusals = 0;
  #openedAtMs = 0;
  /** Settles when the session is over; rejects with why, when the program has not closed it. */
  readonly closed: Promise<void>;

  constructor(options: SessionOptions) {
    this.#options = options;
    this.#id = options.sessionId;
    this.#position = new SessionPosition((metadata) => this.#connection?.send({ metadata }));
    this.#turns = new SessionTurns({
      http: options.http,
      signal: this.#controller.signal,
      write: (frame) => this.#connection?.send(this.#withAck(frame)),
    });
    const { signal } = options;
    const close = () => this.close();
    signal?.addEventListener("abort", close, { once: true });
    if (signal?.aborted) this.close();
    this.closed = this.#keepConnected().finally(() => signal?.removeEventListener("abort", close));
    this.closed.catch(() => {});
  }

  /** Names the session, once it has been open. */
  get id(): string | undefined {
    return this.#id;
  }

  get state(): SessionState {
    return this.#state;
  }

  /** Sends a message, now or when the session is connected again; the turn has its answer. */
  send(message: OutgoingMessage, { signal }: { signal?: AbortSignal } = {}): Turn {
    if (this.#controller.signal.aborted) {
      throw new ClientError({ code: "failed_precondition", message: "the session is closed" });
    }
    return this.#turns.begin(message, signal);
  }

  /** Leaves. Turns that are being answered go on at the gateway, and fail here. */
  close(): void {
    this.#controller.abort(new Error("the session was closed"));
    this.#connection?.end(1000);
  }

  async #keepConnected(): Promise<void> {
    const { signal } = this.#controller;
    try {
      while (!signal.aborted) {
        this.#setState("connecting");
        const waitMs = await this.#connectOnce(signal);
        if (signal.aborted) break;
        this.#setState("waiting");
        await waitOrOnline(waitMs, signal);
      }
      this.#turns.failAll(aborted(signal));
    } catch (error) {
      const failure = error instanceof ClientError ? error : unreachable(error);
      this.#controller.abort(failure);
      this.#turns.failAll(failure);
      throw failure;
    } finally {
      this.#position.clear();
      this.#setState("closed");
    }
  }

  /** One connection, to its end; answers how long to wait before the next. Throws when there can be none. */
  async #connectOnce(signal: AbortSignal): Promise<number> {
    try {
      this.#token ??= await this.#admit(signal);
    } catch (error) {
      if (error instanceof ClientError && error.code === "not_found" && this.#id !== undefined) {
        this.#forgetSession();
        return 0;
      }
      if (error instanceof ClientError && !error.retryable) throw error;
      const wanted = error instanceof ClientError ? (error.retryAfterSeconds ?? 0) * 1_000 : 0;
      return Math.max(wanted, this.#backoff());
    }
    if (signal.aborted) return 0;
    // The platform keeps a socket without a network open for long; ending it loses nothing.
    const stop = onOffline(() => this.#connection?.end(BROKEN));
    const { code, wasOpen } = await this.#converse(this.#token).finally(stop);
    this.#connection = undefined;
    this.#position.interrupt();
    this.#turns.disconnected();
    return this.#afterClose(code, wasOpen);
  }

  async #admit(signal: AbortSignal): Promise<string> {
    const { sessionId, path, ticket } = await this.#options.ticketProvider(this.#id, signal);
    this.#id = sessionId;
    this.#path = path;
    return ticket;
  }

  #converse(token: string): Promise<{ code: number; wasOpen: boolean }> {
    const { last } = this.#position;
    const query = last === undefined ? "" : `?after=${last}`;
    return new Promise((resolve) => {
      this.#connection = new Connection({
        url: this.#options.url.replace(/^http/, "ws") + this.#path + query,
        token,
        WebSocket: this.#options.WebSocket,
        opened: (first) => this.#opened(first),
        received: (frame) => this.#received(frame),
        ended: (code, wasOpen) => resolve({ code, wasOpen }),
      });
    });
  }

  /** The table of close codes in `docs/sessions.md`. */
  #afterClose(code: number, wasOpen: boolean): number {
    if (wasOpen && Date.now() - this.#openedAtMs >= STABLE_MS) this.#failures = 0;
    if (code === 4410) this.#forgetSession();
    if (code === 4400) this.#position.clear();
    if (code === 4401) this.#token = undefined;
    if (code === 4429) return FLOOD_WAIT_MS;
    const waitMs = this.#backoff();
    this.#refusals = wasOpen ? 0 : this.#refusals + 1;
    if (this.#refusals > 0 && this.#refusals % REFUSALS_PER_TICKET === 0) this.#token = undefined;
    return waitMs;
  }

  #backoff(): number {
    return backoffMs(this.#failures++, this.#options.random);
  }

  #forgetSession(): void {
    this.#id = undefined;
    this.#token = undefined;
    this.#position.clear();
    this.#turns.sessionLost();
  }

  #opened(first: FirstFrame): void {
    this.#id = first.id;
    this.#token = first.resumeToken;
    this.#openedAtMs = Date.now();
    this.#position.startAt(first.after);
    this.#setState("open");
    if (first.missed) this.#missed(first.missed);
    this.#turns.connected(first.limits ?? {});
  }

  #received(frame: IncomingMessage): void {
    const {
      sessionSequence,
      sessionEvents = 1,
      missed,
    } = (frame.metadata ?? {}) as {
      sessionSequence?: number;
      sessionEvents?: number;
      missed?: Missed;
    };
    if (sessionSequence === undefined) {
      const error = this.#turns.refused(frame);
      if (error) this.#tell(() => this.#options.onError?.(error));
      return;
    }
    const kind = this.#position.advance(sessionSequence, sessionEvents);
    if (kind === "gap") this.#connection?.end(BROKEN);
    if (kind !== "next") return;
    if (missed) this.#missed(missed);
    else if (!this.#turns.take(frame)) this.#takeMessage(frame);
  }

  /** What has a place in a task is the answer to another client of this session. */
  #takeMessage(frame: IncomingMessage): void {
    if (!frame.content || frame.sequence) return;
    const { senderId = "", messageId = "" } = frame;
    if (this.#told.add(`${senderId} ${messageId}`)) this.#tell(() => this.#options.onMessage?.(frame));
  }

  #missed({ tasks }: Missed): void {
    for (const task of tasks) this.#turns.reread(task);
  }

  #withAck(frame: OutgoingMessage | object): object {
    const ack = this.#position.takeAck();
    if (ack.ack === undefined) return frame;
    return { ...frame, metadata: { ...("metadata" in frame ? (frame.metadata as object) : {}), ...ack } };
  }

  #setState(state: SessionState): void {
    if (this.#state === state) return;
    this.#state = state;
    this.#tell(() => this.#options.onState?.(state));
  }

  /** What a listener throws is the program's own, and must not end the session. */
  #tell(listener: () => void): void {
    try {
      listener();
    } catch (error) {
      queueMicrotask(() => {
        throw error;
      });
    }
  }
}
