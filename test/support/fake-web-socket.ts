/** A WebSocket whose other end is the test, for the client library under a fake clock. */
import type { IncomingMessage } from "../../edge/client/message.ts";

/** What the gateway says of a session, in the first frame. */
export const FIRST_FRAME = { id: "session-1", resumeToken: "resume-1", after: 0, head: 0 };

/** A frame that was sent, parsed; pings are `{ping: true}`. */
export interface SentFrame {
  ping?: boolean;
  messageId?: string;
  inReplyTo?: string;
  cancel?: object;
  text?: string;
  metadata?: { ack?: number };
}

/** The connections that a client has opened, oldest first. */
export class FakeSockets {
  readonly all: FakeSocket[] = [];
  readonly constructed: typeof WebSocket;

  constructor() {
    const { all } = this;
    this.constructed = class extends FakeSocket {
      constructor(url: string, protocols: string[]) {
        super(url, protocols);
        all.push(this);
      }
    } as unknown as typeof WebSocket;
  }

  /** The newest. */
  get last(): FakeSocket {
    const socket = this.all.at(-1);
    if (!socket) throw new Error("no connection has been opened");
    return socket;
  }
}

/** One of them. */
export class FakeSocket extends EventTarget {
  readyState = 0;
  readonly query: string;
  readonly token: string;
  readonly sent: SentFrame[] = [];
  #sequence = 0;

  constructor(url: string, [, token = ""]: string[]) {
    super();
    this.query = new URL(url).search;
    this.token = token;
  }

  /** Messages that were sent on it. */
  get messages(): string[] {
    return this.sent.flatMap(({ messageId }) => messageId ?? []);
  }

  get acks(): number[] {
    return this.sent.flatMap(({ metadata }) => metadata?.ack ?? []);
  }

  get pings(): number {
    return this.sent.filter(({ ping }) => ping).length;
  }

  send(data: string): void {
    this.sent.push(data === "ping" ? { ping: true } : JSON.parse(data));
  }

  /** By the client. */
  close(): void {
    this.readyState = 3;
  }

  /** The gateway takes it. */
  open(first: object = {}): void {
    this.readyState = 1;
    const session = { ...FIRST_FRAME, ...first };
    this.#sequence = session.after;
    this.receive({ metadata: { session } });
  }

  /** A numbered frame, the next one unless its number is given. */
  event(frame: IncomingMessage, { sequence = this.#sequence + 1, events = 1 } = {}): void {
    this.#sequence = sequence;
    const metadata = { sessionSequence: sequence, sessionEvents: events, ...frame.metadata };
    this.receive({ ...frame, metadata });
  }

  /** Any frame. */
  receive(frame: object | string): void {
    const data = typeof frame === "string" ? frame : JSON.stringify(frame);
    this.dispatchEvent(Object.assign(new Event("message"), { data }));
  }

  /** It is closed by the other end, or by nobody. */
  drop(code = 1006): void {
    this.readyState = 3;
    this.dispatchEvent(Object.assign(new Event("close"), { code }));
  }
}
