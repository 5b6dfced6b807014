/**
 * A client of sessions for tests, on Node's own WebSocket: strict where a real one would be lenient. A number that
 * leaves one out or comes twice is kept as a fault, and so is a task's sequence that does.
 */
import { once } from "node:events";

/** A frame, parsed. */
export interface ReceivedFrame {
  messageId?: string;
  senderId?: string;
  contextId?: string;
  taskId?: string;
  inReplyTo?: string;
  sequence?: number;
  text?: string;
  delta?: string;
  content?: object;
  accepted?: object;
  status?: { state: string };
  restart?: { discardAfterSequence?: number; reason: string };
  error?: {
    code: string;
    message: string;
    requestId: string;
    retryAfterSeconds?: number;
    details?: Record<string, unknown>;
  };
  metadata?: {
    sessionSequence?: number;
    sessionEvents?: number;
    session?: FirstFrame;
    missed?: Missed;
    [name: string]: unknown;
  };
}

/** What a client that is too far behind is told. */
export interface Missed {
  from: number;
  to: number;
  tasks: { messageId: string; taskId: string; contextId: string; ended: boolean }[];
}

/** The first frame of a connection. */
export interface FirstFrame {
  id: string;
  resumeToken: string;
  after: number;
  head: number;
  acknowledged: number;
  turns: { messageId: string; taskId: string; contextId: string }[];
  missed?: Missed;
}

/** How a connection ended. */
export interface Closed {
  code: number;
  reason: string;
}

/** What a client knows about one turn. */
interface TurnView {
  text: string;
  sequence: number;
  end: ReceivedFrame | undefined;
}

/** What outlives a client's connections. */
export class SessionClient {
  readonly url: string;
  /** Every numbered frame, in order of arrival. */
  readonly frames: ReceivedFrame[] = [];
  /** Every frame without a number. */
  readonly unnumbered: ReceivedFrame[] = [];
  readonly turns = new Map<string, TurnView>();
  /** What was wrong with the numbers. */
  readonly faults: string[] = [];
  /** The last number. */
  last = 0;
  token: string;
  opened: FirstFrame | undefined;
  acknowledges = false;
  socket: WebSocket | undefined;
  closed: Promise<Closed> = Promise.resolve({ code: 0, reason: "" });

  /** @param origin of the gateway, or of a proxy before it */
  constructor(origin: string, token: string) {
    this.url = `${origin.replace(/^http/, "ws")}/ws/v1/a2a/stream`;
    this.token = token;
  }

  /** Opens a connection and waits for its first frame; with `after`, unless that is said otherwise. */
  async connect(query = this.last > 0 ? `?after=${this.last}` : ""): Promise<FirstFrame> {
    const socket = new WebSocket(this.url + query, ["parley.v1", this.token]);
    this.socket = socket;
    const { promise: closed, resolve: close } = Promise.withResolvers<Closed>();
    this.closed = closed;
    socket.addEventListener("close", ({ code, reason }) => close({ code, reason }));
    const first = new Promise<FirstFrame>((resolve) => {
      socket.addEventListener("message", ({ data }) => {
        if (socket !== this.socket || data === "pong") return;
        const frame = JSON.parse(String(data)) as ReceivedFrame;
        const opened = this.#receive(frame);
        if (opened) resolve(opened);
        const { closeCode } = frame.error?.details ?? {};
        if (typeof closeCode === "number") {
          close({ code: closeCode, reason: frame.error?.message ?? "" });
          socket.close();
        }
      });
    });
    const failed = this.closed.then(({ code, reason }) => {
      throw new Error(`closed before it was open: ${code} ${reason}`);
    });
    failed.catch(() => {});
    return Promise.race([first, failed]);
  }

  send(frame: object | string): void {
    this.socket?.send(typeof frame === "string" ? frame : JSON.stringify(frame));
  }

  /** Takes the connection for dead: whatever still comes on it is not looked at. */
  abandon(): void {
    this.socket?.close();
    this.socket = undefined;
  }

  /** Closes, and waits until it is closed. */
  async close(): Promise<void> {
    this.socket?.close();
    await this.closed;
  }

  /** The end of a turn's text, or what it is so far. */
  turn(messageId: string): TurnView {
    const known = this.turns.get(messageId);
    if (known) return known;
    const turn: TurnView = { text: "", sequence: 0, end: undefined };
    this.turns.set(messageId, turn);
    return turn;
  }

  #receive(frame: ReceivedFrame): FirstFrame | undefined {
    const { sessionSequence, sessionEvents = 1, session } = frame.metadata ?? {};
    if (session) {
      this.token = session.resumeToken;
      this.opened = session;
      if (session.after !== this.last && this.last > 0 && !session.missed) {
        this.faults.push(`goes on after ${session.after}, not ${this.last}`);
      }
      this.last = session.after;
      return session;
    }
    if (sessionSequence === undefined) {
      this.unnumbered.push(frame);
      return undefined;
    }
    if (sessionSequence - sessionEvents !== this.last) {
      this.faults.push(`${sessionSequence} (${sessionEvents} events) came after ${this.last}`);
    }
    this.last = sessionSequence;
    this.frames.push(frame);
    this.#follow(frame, sessionEvents);
    if (this.acknowledges) this.send({ metadata: { ack: this.last } });
    return undefined;
  }

  #follow(frame: ReceivedFrame, events: number): void {
    if (frame.inReplyTo === undefined) return;
    const turn = this.turn(frame.inReplyTo);
    const { sequence = 0 } = frame;
    if (sequence > 0) {
      if (sequence - events !== turn.sequence) {
        this.faults.push(
          `task event ${sequence} (${events}) of ${frame.inReplyTo} came after ${turn.sequence}`,
        );
      }
      turn.sequence = sequence;
    }
    if (frame.delta !== undefined) turn.text += frame.delta;
    if (frame.restart) {
      turn.text = "";
      if (sequence === 0) turn.sequence = 0;
    }
    const isLast = frame.content || frame.error || frame.status?.state === "TASK_STATE_CANCELED";
    if (isLast && turn.end) this.faults.push(`the turn ${frame.inReplyTo} ended twice`);
    if (isLast) turn.end = frame;
  }
}

/** An HTTP answer to an upgrade that was refused; Node's own WebSocket does not show it. */
export async function refusedUpgrade(
  url: string,
  headers: Record<string, string>,
): Promise<{ status: number; body: { error: { code: string; message: string; reason?: string } } }> {
  const { request } = await import("node:http");
  const upgrade = request(url, {
    headers: {
      connection: "Upgrade",
      upgrade: "websocket",
      "sec-websocket-version": "13",
      "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
      ...headers,
    },
  });
  upgrade.end();
  const upgraded = once(upgrade, "upgrade").then(([, socket]) => {
    socket.destroy();
    throw new Error("the upgrade was not refused");
  });
  upgraded.catch(() => {});
  const [response] = await Promise.race([once(upgrade, "response"), upgraded]);
  let text = "";
  for await (const chunk of response) text += chunk;
  return { status: response.statusCode, body: JSON.parse(text) };
}
