/** Every bound of a peer's mailbox, with its reason. */

/** What waits for a peer at most; past it senders are told to come back later. */
export const MESSAGES_WAITING_MAX = 1_000;
export const BYTES_WAITING_MAX = 8 * 1_048_576;
/** Messages that have not ended. Past it the oldest that the peer has and does not answer is given up. */
export const OPEN_MAX = 10_000;
/** Of a message, or of all events of its task, as stored: a row of SQLite has at most 2 MB on Cloudflare. */
export const STORED_BYTES_MAX = 1_900_000;
/**
 * Messages handed to a session and not acknowledged: a slow peer's backlog stays in the mailbox. Their characters are
 * far from what a session keeps, so that it need not drop any; one message is always handed on.
 */
export const UNACKNOWLEDGED_MAX = 32;
export const UNACKNOWLEDGED_CHARACTERS_MAX = 1_048_576;
/** Sessions that a peer is connected by at once, as far as the mailbox knows; the one connected longest is forgotten. */
export const SESSIONS_ATTACHED_MAX = 8;
/** Tasks that have ended and can still be read, by number and for so long. */
export const ENDED_KEPT_MAX = 1_000;
export const ENDED_KEPT_MS = 24 * 3_600_000;
/** So many may be more than are kept, lest every end looks for what to forget. */
export const FORGET_EVERY = 50;
/** How long one call of somebody who waits for an event lasts; then it asks again. */
export const FOLLOW_MS = 5_000;
/** Between two tries to tell a session something. */
export const RETRY_MS = 5_000;
/**
 * Answers to answers, each naming the one before it: agents that answer each other by themselves are cut here. A
 * conversation that is meant to go on begins a new chain, by a message without `inReplyTo`.
 */
export const HOPS_MAX = 32;
