/**
 * One message and its answer: an async iterable of events, a `text` that is always right, and a promise of the reply.
 * Where the events come from is no concern of it; events that it has seen are ignored, so sources may overlap.
 */
import { aborted, ClientError } from "./client-error.ts";
import type { IncomingMessage, TurnEvent } from "./message.ts";

/**
 * Events that nobody has read yet. Deltas are joined, so that only statuses and restarts count; past it one `restart`
 * stands for all of them.
 */
const UNREAD_EVENTS_MAX = 1_000;

const TERMINAL_STATE = /_(?:COMPLETED|FAILED|CANCELED|REJECTED)$/;

/** What a turn asks of whoever brings its events. */
export interface TurnOwner {
  cancel(turn: Turn, reason: string): void;
}

/** See above. One iteration at a time; leaving it does not stop the turn. */
export class Turn implements AsyncIterable<TurnEvent> {
  readonly messageId: string;
  /** The agent's reply; rejects with {@link ClientError}. It may be left alone. */
  readonly reply: Promise<IncomingMessage>;
  taskId: string | undefined;
  contextId: string | undefined;
  /** Position of the newest event of the task. */
  sequence = 0;
  /** The reply so far, without what a `restart` has voided. */
  text = "";
  /** Where each piece of the text ends, by its position among the events. */
  #pieces: { sequence: number; end: number }[] = [];
  #unread: TurnEvent[] = [];
  #wake = () => {};
  #failure: ClientError | undefined;
  #ended = false;
  readonly #owner: TurnOwner;
  readonly #settle: { resolve(reply: IncomingMessage): void; reject(error: ClientError): void };
  #forget = () => {};

  /** @param signal cancels the turn when it aborts */
  constructor(messageId: string, owner: TurnOwner, signal?: AbortSignal) {
    this.messageId = messageId;
    this.#owner = owner;
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    this.reply = promise;
    this.#settle = { resolve, reject };
    promise.catch(() => {});
    if (!signal) return;
    const abort = () => {
      owner.cancel(this, "canceled by the caller");
      this.fail(aborted(signal));
    };
    this.#forget = () => signal.removeEventListener("abort", abort);
    signal.addEventListener("abort", abort, { once: true });
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** Asks the gateway to stop; the turn then ends with its last event. */
  cancel(reason = "canceled by the caller"): void {
    if (!this.#ended) this.#owner.cancel(this, reason);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<TurnEvent, void, undefined> {
    while (true) {
      for (let event = this.#unread.shift(); event; event = this.#unread.shift()) yield event;
      if (this.#failure) throw this.#failure;
      if (this.#ended) return;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** Takes an event of the task; one that was seen before changes nothing. */
  apply(message: IncomingMessage): void {
    if (this.#ended) return;
    const { sequence = 0, taskId, contextId } = message;
    const isSameTask = taskId === undefined || taskId === this.taskId;
    const seen = isSameTask ? this.sequence : 0;
    if (sequence > 0 && sequence <= seen) return;
    if (!isSameTask) this.sequence = 0;
    this.taskId = taskId ?? this.taskId;
    this.contextId = contextId ?? this.contextId;
    this.sequence = Math.max(this.sequence, sequence);
    if (message.error) this.fail(new ClientError(message.error));
    else this.#take(message, sequence, seen);
  }

  /** Ends the turn. */
  fail(error: ClientError): void {
    if (this.#ended) return;
    this.#failure = error;
    this.#settle.reject(error);
    this.#end();
  }

  #take(message: IncomingMessage, sequence: number, seen: number): void {
    const { restart, content, status, accepted } = message;
    if (message.delta !== undefined) {
      const pieces = piecesOf(message).filter((piece) => sequence === 0 || piece.sequence > seen);
      for (const { sequence, text } of pieces) {
        this.text += text;
        this.#pieces.push({ sequence, end: this.text.length });
      }
      const delta = pieces.map(({ text }) => text).join("");
      this.#push({ type: "delta", delta, text: this.text, message });
    } else if (restart) {
      // One without a number voids the whole of a task that was lost.
      const keptUpTo = sequence > 0 ? (restart.discardAfterSequence ?? 0) : 0;
      this.#pieces = this.#pieces.filter((piece) => sequence > 0 && piece.sequence <= keptUpTo);
      this.text = this.text.slice(0, this.#pieces.at(-1)?.end ?? 0);
      if (sequence === 0) this.sequence = 0;
      this.#push({ type: "restart", reason: restart.reason ?? "", text: this.text, message });
    } else if (content) {
      this.text = message.text ?? this.text;
      this.#push({ type: "content", text: this.text, message });
      this.#settle.resolve(message);
      this.#end();
    } else if (status) {
      this.#push({ type: "status", state: status.state, text: this.text, message });
      if (TERMINAL_STATE.test(status.state)) this.fail(endedWithout(status.state));
    } else if (accepted) this.#push({ type: "accepted", text: this.text, message });
  }

  #push(event: TurnEvent): void {
    const last = this.#unread.at(-1);
    if (event.type === "delta" && last?.type === "delta") {
      this.#unread[this.#unread.length - 1] = { ...event, delta: last.delta + event.delta };
    } else this.#unread.push(event);
    if (this.#unread.length > UNREAD_EVENTS_MAX) {
      const { text, message } = event;
      const standIn: TurnEvent = { type: "restart", reason: "unread", text, message };
      this.#unread = event.type === "content" ? [standIn, event] : [standIn];
    }
    this.#wake();
  }

  #end(): void {
    this.#ended = true;
    this.#forget();
    this.#wake();
  }
}

/** Whether no event of the turn comes after. */
export function endsTurn({ content, error, status }: IncomingMessage): boolean {
  return content !== undefined || error !== undefined || TERMINAL_STATE.test(status?.state ?? "");
}

/** The deltas that the gateway has put into one frame, each with its place in the task. */
function piecesOf({
  delta = "",
  sequence = 0,
  metadata,
}: IncomingMessage): { sequence: number; text: string }[] {
  const lengths = metadata?.["deltaLengths"];
  if (!Array.isArray(lengths)) return [{ sequence, text: delta }];
  let from = 0;
  return lengths.map((length: number, index) => {
    const text = delta.slice(from, from + length);
    from += length;
    return { sequence: sequence - lengths.length + 1 + index, text };
  });
}

/** How a task that ended without a reply fails its turn. */
export function endedWithout(state: string): ClientError {
  const code = state.endsWith("_CANCELED") ? "canceled" : "internal";
  return new ClientError({ code, message: `the task ended without a reply: ${state}`, details: { state } });
}
