/**
 * Messages on their way out. One stays until the gateway has answered it, and is sent once on every connection until
 * then, under the same id; the gateway runs it once.
 */
import { ClientError } from "./client-error.ts";
import type { OutgoingMessage } from "./message.ts";
import type { Turn } from "./turn.ts";

/** A client that is offline for long must not fill its memory. */
const MESSAGES_MAX = 1_000;

interface Entry {
  readonly message: OutgoingMessage;
  readonly turn: Turn;
  isSent: boolean;
}

/** See above; in the order of the calls. */
export class OutgoingQueue {
  readonly #entries = new Map<string, Entry>();

  /** @throws ClientError when it is full */
  add(message: OutgoingMessage, turn: Turn): void {
    if (this.#entries.size >= MESSAGES_MAX) {
      throw new ClientError({
        code: "resource_exhausted",
        message: `${MESSAGES_MAX} messages are waiting to be sent; wait until the session is connected`,
        reason: "queue-full",
      });
    }
    this.#entries.set(turn.messageId, { message, turn, isSent: false });
  }

  /** The gateway has it, or nobody wants it any more. */
  remove(messageId: string): void {
    this.#entries.delete(messageId);
  }

  isWaiting(messageId: string): boolean {
    return this.#entries.get(messageId)?.isSent === false;
  }

  /** A new connection: all are sent again. */
  reset(): void {
    for (const entry of this.#entries.values()) entry.isSent = false;
  }

  /** Takes up to `room` messages to send now. */
  take(room: number): OutgoingMessage[] {
    const taken = [...this.#entries.values()].filter(({ isSent }) => !isSent).slice(0, Math.max(0, room));
    for (const entry of taken) entry.isSent = true;
    return taken.map(({ message }) => message);
  }

  /** Messages that were sent and not answered. */
  get unanswered(): number {
    return [...this.#entries.values()].filter(({ isSent }) => isSent).length;
  }
}
