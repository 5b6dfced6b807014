/** The envelope of every surface, `A2AMessage` as JSON, as far as a client sends and reads it. */
import type { ErrorBody } from "./client-error.ts";

/** A message to an agent or a peer. */
export interface OutgoingMessage {
  /** Chosen by the library when absent; a message sent again under the same id is not run again. */
  readonly messageId?: string;
  readonly receiverId: string;
  /** Goes on with a conversation. */
  readonly contextId?: string;
  /** The peer's message that this one answers. */
  readonly inReplyTo?: string;
  readonly text?: string;
  readonly content?: object;
  readonly metadata?: Readonly<Record<string, unknown>>;
  readonly [field: string]: unknown;
}

/** A message or an event from the gateway. */
export interface IncomingMessage {
  readonly messageId?: string;
  readonly senderId?: string;
  readonly receiverId?: string;
  readonly contextId?: string;
  readonly taskId?: string;
  readonly inReplyTo?: string;
  /** Position among the task's events, from 1. */
  readonly sequence?: number;
  readonly text?: string;
  readonly content?: object;
  readonly delta?: string;
  readonly accepted?: object;
  readonly status?: { readonly state: string };
  readonly restart?: { readonly discardAfterSequence?: number; readonly reason?: string };
  readonly error?: ErrorBody;
  readonly metadata?: Readonly<Record<string, unknown>>;
}

/** An event of a turn. `text` is the reply so far, without what a `restart` has voided. */
export type TurnEvent = { readonly text: string; readonly message: IncomingMessage } & (
  | { readonly type: "accepted" }
  | { readonly type: "delta"; readonly delta: string }
  | { readonly type: "restart"; readonly reason: string }
  | { readonly type: "status"; readonly state: string }
  | { readonly type: "content" }
);
