/**
 * One WebSocket of a session: how far its client is, and what it has yet to be sent. What must outlive an eviction is
 * in the socket's attachment, which the runtime keeps as long as the socket itself.
 */
import type { WebSocket } from "@cloudflare/workers-types";
import { ParleyError } from "../../core/errors/parley-error.ts";
import type { Clock } from "../../core/resilience/deadline.ts";
import { CLOSINGS, type CloseCause } from "./close-codes.ts";
import { errorFrame } from "./error-frame.ts";
import { type Frame, renderFrame } from "./frame.ts";
import type { FrameLog } from "./frame-log.ts";
import { FrameRate } from "./frame-rate.ts";
import { REPLAY_PAGE_FRAMES, UNSENT_BYTES_MAX } from "./session-limits.ts";

/** What the attachment holds. */
export interface Attachment {
  readonly clientId: string;
  /** The last number that was sent, or that the client said it has. */
  cursor: number;
  /** When the client was last heard, by a frame of its own; Unix epoch, milliseconds. */
  heardAtMs: number;
  /** How often it was found alive by an alarm; see {@link Connection.nextLookMs}. */
  looks?: number;
  /** The gateway has closed it; the runtime may list it for a while yet. */
  isClosed?: boolean;
}

/** The attachment is written anew for this only when it is older. */
const HEARD_STEP_MS = 5_000;

/** Up to 16 times the first interval, which is that of a dead connection's silence: 20 minutes. */
const LOOK_DOUBLINGS_MAX = 4;

/** See above. */
export class Connection {
  readonly rate: FrameRate;
  readonly #socket: WebSocket;
  readonly #now: Clock;
  readonly #attachment: Attachment;
  /** Since when it has had no room; undefined when it has. */
  #fullSinceMs: number | undefined;

  /** @param attachment of a new socket; one that an earlier life of the object accepted has its own */
  constructor(socket: WebSocket, now: Clock, attachment?: Attachment) {
    this.#socket = socket;
    this.#now = now;
    this.rate = new FrameRate(now);
    this.#attachment = attachment ?? (socket.deserializeAttachment() as Attachment);
    if (attachment) this.#write();
  }

  get clientId(): string {
    return this.#attachment.clientId;
  }

  get cursor(): number {
    return this.#attachment.cursor;
  }

  get isOpen(): boolean {
    return !this.#attachment.isClosed;
  }

  /** Since when there has been no room for more; undefined while there is. */
  get fullSinceMs(): number | undefined {
    return this.#fullSinceMs;
  }

  /** When the client was last heard, its pings included. */
  heardAtMs(pingedAt: Date | null): number {
    return Math.max(this.#attachment.heardAtMs, pingedAt?.getTime() ?? 0);
  }

  /**
   * How long after it was last heard it is looked at, when nothing else happens: each time it is alive, twice as long.
   * A look brings the object back from hibernation, for 10 s and some milliseconds of processor time.
   */
  nextLookMs(silentMs: number): number {
    return silentMs * 2 ** Math.min(this.#attachment.looks ?? 0, LOOK_DOUBLINGS_MAX);
  }

  /** It was looked at by an alarm, and is alive. */
  isAlive(): void {
    this.#attachment.looks = (this.#attachment.looks ?? 0) + 1;
    this.#write();
  }

  /** The client has sent a frame. */
  hear(): void {
    const nowMs = this.#now();
    if (nowMs - this.#attachment.heardAtMs < HEARD_STEP_MS) return;
    this.#attachment.heardAtMs = nowMs;
    this.#write();
  }

  /** Sends a text that has no number. Past the bound it is dropped: who causes errors and reads none gets no more. */
  sendUnnumbered(text: string): void {
    if (this.#hasRoom()) this.#send(text);
  }

  /** Sends a frame that has just been made, unless others come before it. */
  offer(frame: Frame, log: FrameLog): void {
    const { cursor } = this.#attachment;
    if (cursor >= frame.last) return;
    if (cursor < frame.first - 1) this.pump(log);
    else if (this.#hasRoom()) this.#sendFrame(frame);
  }

  /** Sends what the log has past the cursor, as long as there is room. */
  pump(log: FrameLog): void {
    while (this.isOpen && this.#attachment.cursor < log.head && this.#hasRoom()) {
      const frames = log.read(this.#attachment.cursor, REPLAY_PAGE_FRAMES);
      if (frames.length === 0) return;
      for (const frame of frames) {
        if (!this.isOpen || !this.#hasRoom()) return;
        this.#sendFrame(frame);
      }
    }
  }

  /** Goes on from a number without having sent what is before it. */
  moveTo(cursor: number): void {
    this.#attachment.cursor = cursor;
    this.#write();
  }

  /** Closes the socket; nothing is sent after. */
  close(cause: CloseCause): void {
    if (!this.isOpen) return;
    const { closeCode, code, reason, message } = CLOSINGS[cause];
    const error = new ParleyError(code, message, { reason, details: { closeCode } });
    // Said in a frame too: workerd 1.20261117 ends the TCP connection up to 10 s after the close frame, and clients
    // are told of nothing before that.
    this.sendUnnumbered(errorFrame(error, { requestId: crypto.randomUUID() }));
    this.#attachment.isClosed = true;
    this.#write();
    try {
      this.#socket.close(closeCode, message);
    } catch {
      // The other side was faster.
    }
  }

  #sendFrame(frame: Frame): void {
    this.#send(renderFrame(frame, this.#attachment.cursor));
    this.#attachment.cursor = frame.last;
    this.#write();
  }

  #send(text: string): void {
    try {
      this.#socket.send(text);
    } catch {
      // It is closing; its close event follows, and what was sent here is in the log.
      this.#attachment.isClosed = true;
    }
  }

  #hasRoom(): boolean {
    if (this.#socket.bufferedAmount <= UNSENT_BYTES_MAX) this.#fullSinceMs = undefined;
    else this.#fullSinceMs ??= this.#now();
    return this.#fullSinceMs === undefined;
  }

  #write(): void {
    this.#socket.serializeAttachment(this.#attachment);
  }
}
