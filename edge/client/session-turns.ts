/** The turns of a session: what waits to go out, what is being answered, and what is read by HTTP instead. */
import { aborted, ClientError } from "./client-error.ts";
import type { MissedTask } from "./connection.ts";
import type { HttpCalls } from "./http-calls.ts";
import type { IncomingMessage, OutgoingMessage } from "./message.ts";
import { OutgoingQueue } from "./outgoing-queue.ts";
import { endsTurn, Turn } from "./turn.ts";

/** The gateway's limits, where it has not said them. */
const FRAME_BYTES_MAX = 1_048_576;
const TURNS_IN_FLIGHT_MAX = 16;
/** Room in a frame for the acknowledgement that is added. */
const ACK_BYTES = 64;
/** After the gateway has said that it looks at no more frames for now. */
const RESEND_DELAY_MS = 1_000;
/** Cancels that the gateway has not answered; as many as messages can be waiting. */
const CANCELS_MAX = 1_000;

/** What the turns touch. */
export interface SessionTurnsOptions {
  readonly http: HttpCalls;
  /** Aborts with the session. */
  readonly signal: AbortSignal;
  /** Sends a frame if there is a connection. */
  write(frame: object): void;
}

/** See above. */
export class SessionTurns {
  readonly #options: SessionTurnsOptions;
  readonly #turns = new Map<string, Turn>();
  readonly #accepted = new Set<string>();
  /** Cancels that wait for an answer, by message, with their reason; a turn that was aborted here has ended before. */
  readonly #canceling = new Map<string, string>();
  readonly #byHttp = new Set<string>();
  readonly #queue = new OutgoingQueue();
  #resendTimer: ReturnType<typeof setTimeout> | undefined;
  #isConnected = false;
  #limits = { frameBytesMax: FRAME_BYTES_MAX, turnsInFlightMax: TURNS_IN_FLIGHT_MAX };

  constructor(options: SessionTurnsOptions) {
    this.#options = options;
  }

  /** @throws ClientError when the message is too large, its id is in use, or the queue is full */
  begin(message: OutgoingMessage, signal?: AbortSignal): Turn {
    if (signal?.aborted) throw aborted(signal);
    const messageId = message.messageId ?? crypto.randomUUID();
    if (this.#turns.has(messageId)) {
      throw new ClientError({ code: "conflict", message: "a message with this messageId is being answered" });
    }
    const frame = { ...message, messageId };
    const bytes = new TextEncoder().encode(JSON.stringify(frame)).length;
    if (bytes + ACK_BYTES > this.#limits.frameBytesMax) {
      throw new ClientError({
        code: "invalid_argument",
        message: `the message is ${bytes} bytes; at most ${this.#limits.frameBytesMax - ACK_BYTES} can be sent`,
        reason: "frame-too-large",
      });
    }
    const turn = new Turn(messageId, { cancel: (self, reason) => this.#cancel(self, reason) }, signal);
    this.#queue.add(frame, turn);
    this.#turns.set(messageId, turn);
    turn.reply.catch(() => {}).finally(() => this.#ended(turn));
    this.#flush();
    return turn;
  }

  /** A connection is open: everything that is unanswered goes out again. */
  connected(limits: { frameBytesMax?: number; turnsInFlightMax?: number }): void {
    this.#limits = { ...this.#limits, ...limits };
    this.#isConnected = true;
    this.#queue.reset();
    this.#flush();
    for (const [messageId, reason] of this.#canceling) this.#writeCancel(messageId, reason);
  }

  /** The connection has ended; what is said from here on waits for the next one. */
  disconnected(): void {
    this.#isConnected = false;
    clearTimeout(this.#resendTimer);
    this.#resendTimer = undefined;
  }

  /** Takes a numbered frame; false when it belongs to no turn of this client. */
  take(frame: IncomingMessage): boolean {
    const { inReplyTo = "" } = frame;
    const turn = this.#turns.get(inReplyTo);
    const isCanceled = this.#canceling.has(inReplyTo);
    if (endsTurn(frame)) this.#canceling.delete(inReplyTo);
    if (!turn) return isCanceled;
    this.#confirm(turn.messageId);
    if (frame.restart && !frame.sequence) this.#byHttp.delete(turn.messageId);
    if (!this.#byHttp.has(turn.messageId)) turn.apply(frame);
    return true;
  }

  /** Takes a frame without a number; answers the error when it is about no turn. */
  refused({ error, inReplyTo = "" }: IncomingMessage): ClientError | undefined {
    if (!error) return undefined;
    const failure = new ClientError(error);
    const turn = this.#turns.get(inReplyTo);
    // The turn is over, or has never begun: there is nothing to cancel.
    if (this.#canceling.delete(inReplyTo) && !turn) return undefined;
    if (turn && !this.#accepted.has(inReplyTo)) turn.fail(failure);
    else if (failure.reason === "frame-rate") this.#resendSoon();
    else return failure;
    return undefined;
  }

  /** Frames of a task are kept no longer: the rest of it is read by HTTP. */
  reread({ messageId, taskId, contextId }: MissedTask): void {
    const turn = this.#turns.get(messageId);
    if (!turn || this.#byHttp.has(messageId)) return;
    if (turn.taskId !== undefined && turn.taskId !== taskId) {
      turn.apply({ taskId, restart: { reason: "task-lost" } });
    }
    turn.taskId = taskId;
    turn.contextId ??= contextId;
    this.#confirm(messageId);
    this.#byHttp.add(messageId);
    const { http, signal } = this.#options;
    if (http.available) void http.follow(turn, signal);
    else {
      turn.fail(
        new ClientError({
          code: "unavailable",
          message:
            "the client was away for too long, and has no credential to read the rest of the reply by HTTP",
          reason: "missed",
          details: { taskId, sequence: turn.sequence },
        }),
      );
    }
  }

  /** The session has ended; what it was answering goes on as tasks. */
  sessionLost(): void {
    for (const messageId of this.#accepted) {
      const taskId = this.#turns.get(messageId)?.taskId;
      if (taskId !== undefined) this.reread({ messageId, taskId });
    }
  }

  failAll(error: ClientError): void {
    this.disconnected();
    this.#canceling.clear();
    for (const turn of this.#turns.values()) turn.fail(error);
  }

  #confirm(messageId: string): void {
    this.#queue.remove(messageId);
    this.#accepted.add(messageId);
  }

  #ended({ messageId }: Turn): void {
    this.#queue.remove(messageId);
    this.#turns.delete(messageId);
    this.#accepted.delete(messageId);
    this.#byHttp.delete(messageId);
    this.#flush();
  }

  #flush(): void {
    if (!this.#isConnected) return;
    const inFlight = this.#accepted.size + this.#queue.unanswered;
    for (const message of this.#queue.take(this.#limits.turnsInFlightMax - inFlight)) {
      this.#options.write(message);
    }
  }

  #cancel(turn: Turn, reason: string): void {
    const { messageId } = turn;
    if (this.#queue.isWaiting(messageId)) {
      turn.fail(new ClientError({ code: "canceled", message: "canceled before it was sent" }));
      return;
    }
    this.#canceling.set(messageId, reason);
    const [oldest = ""] = this.#canceling.keys();
    if (this.#canceling.size > CANCELS_MAX) this.#canceling.delete(oldest);
    this.#writeCancel(messageId, reason);
  }

  #writeCancel(messageId: string, reason: string): void {
    this.#options.write({ inReplyTo: messageId, cancel: { reason } });
  }

  #resendSoon(): void {
    this.#resendTimer ??= setTimeout(() => {
      this.#resendTimer = undefined;
      this.#queue.reset();
      this.#flush();
    }, RESEND_DELAY_MS);
  }
}
