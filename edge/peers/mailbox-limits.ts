/** Every bound of a peer's mailbox, with its reason. */

/** What waits for a peer at most; past it senders are told to come back later. */
export const MESSAGES_WAITING_MAX = 1_000;
export const BYTES_WAITING_MAX = 8 * 1_048_576;
/** Messages handed to a session and not acknowledged: a slow peer's backlog stays in the mailbox. */
export const UNACKNOWLEDGED_MAX = 32;
/** Sessions that a peer is connected by at once, as far as the mailbox knows; the one connected longest is forgotten. */
export const SESSIONS_ATTACHED_MAX = 8;
/** Tasks that have ended and can still be read, by number and for so long. */
export const ENDED_KEPT_MAX = 1_000;
export const ENDED_KEPT_MS = 24 * 3_600_000;
/** How long one call of somebody who waits for an event lasts; then it asks again. */
export const FOLLOW_MS = 5_000;
/** Between two tries to tell a session something. */
export const RETRY_MS = 5_000;
/**
 * Answers to answers, each naming the one before it: agents that answer each other by themselves are cut here. A
 * conversation that is meant to go on begins a new chain, by a message without `inReplyTo`.
 */
export const HOPS_MAX = 32;
