/** What the object of a peer's mailbox can be asked, and where it is. */
import type { Refusal } from "../sessions/opening.ts";

/** A message for a peer, or a peer's reply. */
export interface MailboxMessage {
  readonly tenantId: string;
  readonly peerId: string;
  /** ProtoJSON of the message, admitted. */
  readonly text: string;
  /** The caller; it alone may follow the task. */
  readonly subject: string;
  /** The session that is to be told what becomes of it; undefined for senders that follow the task. */
  readonly sessionId?: string | undefined;
  /** How long the message may wait, milliseconds. */
  readonly ttlMs: number;
}

/** Events of a task past a position, as ProtoJSON. */
export interface FollowedEvents {
  readonly events: readonly string[];
  readonly ended: boolean;
}

/** A task of a caller's. */
export interface TaskOfCaller {
  readonly taskId: string;
  readonly subject: string;
}

/** A task of a caller's, and for how long it is asked what comes next. */
export interface FollowedTask extends TaskOfCaller {
  /** The last event that is known. */
  readonly after: number;
  readonly waitMs: number;
}

/** See above. Refusals are values, as errors do not survive the way between objects. */
export interface MailboxRpc {
  /** Keeps a message, once; answers with the events of its task so far. */
  accept(message: MailboxMessage): Promise<FollowedEvents | { refusal: Refusal }>;
  /** The peer's reply to a message that it has; false when there is no such message. */
  reply(message: MailboxMessage): Promise<{ taken: boolean } | { refusal: Refusal }>;
  /** Events past a position; waits a while when there are none. */
  follow(task: FollowedTask): Promise<FollowedEvents | { refusal: Refusal }>;
  /** Takes a message back, or lets its reply be; answers with the last event. */
  cancel(task: TaskOfCaller): Promise<FollowedEvents | { refusal: Refusal }>;
  /** The peer is connected by a session, which is handed what waits. */
  attach(tenantId: string, peerId: string, sessionId: string): Promise<void>;
  /** That session has no connection any more. */
  detach(sessionId: string): Promise<void>;
  /** The peer has these messages. */
  acknowledge(sequences: readonly number[]): Promise<void>;
}

/** A message on its way to a peer: its place in the mailbox, and its ProtoJSON. */
export interface Delivered {
  readonly sequence: number;
  readonly text: string;
}

/** The binding of `MailboxObject`, as far as it is used. */
interface MailboxBindings {
  readonly MAILBOXES: { getByName(name: string): MailboxRpc };
}

/** The mailbox of a peer. */
export function mailboxOf(env: object, tenantId: string, peerId: string): MailboxRpc {
  return (env as MailboxBindings).MAILBOXES.getByName(`${tenantId}/mailbox/${peerId}`);
}
