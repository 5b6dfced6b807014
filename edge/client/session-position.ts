/** Where a client is in its session: the last number, and when that is acknowledged (`docs/sessions.md`). */

const FRAMES_PER_ACK = 100;
const ACK_DELAY_MS = 1_000;

/** What a numbered frame is to the client. */
export type FrameKind = "next" | "repeated" | "gap";

/** See above. */
export class SessionPosition {
  /** The last number that was processed; undefined before the first frame of the first connection. */
  last: number | undefined;
  #acknowledged = 0;
  #framesSinceAck = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  readonly #sendAck: (metadata: object) => void;

  constructor(sendAck: (metadata: object) => void) {
    this.#sendAck = sendAck;
  }

  /** Goes on at a number that the gateway names. */
  startAt(last: number): void {
    this.last = last;
    this.#acknowledged = Math.min(this.#acknowledged, last);
  }

  /** Takes the number of a frame, when it is the next one. */
  advance(sequence: number, events: number): FrameKind {
    const last = this.last ?? 0;
    if (sequence <= last) return "repeated";
    if (sequence - events !== last) return "gap";
    this.last = sequence;
    this.#framesSinceAck++;
    if (this.#framesSinceAck >= FRAMES_PER_ACK) this.#acknowledge();
    else this.#timer ??= setTimeout(() => this.#acknowledge(), ACK_DELAY_MS);
    return "next";
  }

  /** The acknowledgement to send along in a frame that is sent anyway. */
  takeAck(): { ack?: number } {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#framesSinceAck = 0;
    if (this.last === undefined || this.last === this.#acknowledged) return {};
    this.#acknowledged = this.last;
    return { ack: this.last };
  }

  /** The connection has ended: what was acknowledged on it may be lost. */
  interrupt(): void {
    this.takeAck();
    this.#acknowledged = 0;
  }

  /** Forgets the session. */
  clear(): void {
    this.interrupt();
    this.last = undefined;
  }

  #acknowledge(): void {
    const ack = this.takeAck();
    if (ack.ack !== undefined) this.#sendAck(ack);
  }
}
