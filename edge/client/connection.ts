/**
 * One connection of a session, from its opening to its end: the first frame, the heartbeat, and the one code that it
 * ended with. It neither numbers nor remembers anything.
 */
import type { IncomingMessage } from "./message.ts";

const SUBPROTOCOL = "parley.v1";
/** From the opening to the first frame. */
const OPENING_TIMEOUT_MS = 15_000;
const PING_INTERVAL_MS = 25_000;
/** After a ping; anything that comes is a sign of life. */
const PONG_TIMEOUT_MS = 10_000;
/** The code of a connection that broke. */
export const BROKEN = 1006;

/** The first frame of a connection. */
export interface FirstFrame {
  readonly id: string;
  readonly resumeToken: string;
  readonly after: number;
  readonly head: number;
  readonly turns?: readonly MissedTask[];
  readonly missed?: Missed;
  readonly limits?: { readonly frameBytesMax?: number; readonly turnsInFlightMax?: number };
}

/** A task with events that are kept no longer. */
export interface MissedTask {
  readonly messageId: string;
  readonly taskId: string;
  readonly contextId?: string;
}

/** The numbers that are kept no longer. */
export interface Missed {
  readonly from: number;
  readonly to: number;
  readonly tasks: readonly MissedTask[];
}

/** How a connection is opened, and what is told of it. Nothing is told after `ended`, which comes once. */
export interface ConnectionOptions {
  readonly url: string;
  /** A ticket or a resume token. */
  readonly token: string;
  readonly WebSocket: typeof WebSocket;
  opened(first: FirstFrame): void;
  received(frame: IncomingMessage): void;
  ended(code: number, wasOpen: boolean): void;
}

/** See above. */
export class Connection {
  readonly #options: ConnectionOptions;
  readonly #socket: WebSocket;
  #timer: ReturnType<typeof setTimeout>;
  #isOpen = false;
  #hasEnded = false;

  constructor(options: ConnectionOptions) {
    this.#options = options;
    this.#socket = new options.WebSocket(options.url, [SUBPROTOCOL, options.token]);
    this.#timer = setTimeout(() => this.end(BROKEN), OPENING_TIMEOUT_MS);
    this.#socket.addEventListener("message", ({ data }) => this.#receive(data));
    this.#socket.addEventListener("close", ({ code }) => this.end(code));
    this.#socket.addEventListener("error", () => this.end(BROKEN));
  }

  /** Sends a frame; what is sent on a connection that has ended is lost. */
  send(frame: object): void {
    if (this.#isOpen && !this.#hasEnded && this.#socket.readyState === 1) {
      this.#socket.send(JSON.stringify(frame));
    }
  }

  /** Takes the connection for ended: whatever still comes on it is not looked at. */
  end(code: number): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    clearTimeout(this.#timer);
    try {
      this.#socket.close();
    } catch {
      // It was being opened still, on a platform that cannot close such a one.
    }
    this.#options.ended(code, this.#isOpen);
  }

  #receive(data: unknown): void {
    if (this.#hasEnded) return;
    this.#live();
    if (data === "pong") return;
    let frame: IncomingMessage;
    try {
      frame = JSON.parse(String(data));
    } catch {
      this.end(BROKEN);
      return;
    }
    const first = frame.metadata?.["session"] as FirstFrame | undefined;
    if (first) {
      this.#isOpen = true;
      this.#options.opened(first);
      return;
    }
    this.#options.received(frame);
    const closeCode = frame.error?.details?.["closeCode"];
    if (typeof closeCode === "number") this.end(closeCode);
  }

  #live(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#timer = setTimeout(() => this.end(BROKEN), PONG_TIMEOUT_MS);
      if (this.#socket.readyState === 1) this.#socket.send("ping");
    }, PING_INTERVAL_MS);
  }
}
