/** Every bound of a session and every time in it, each with its reason. `docs/sessions.md` repeats those that clients meet. */

/** Each turn holds a call to the backend. */
export const TURNS_IN_FLIGHT_MAX = 16;
/** Browser tabs of one conversation. */
export const SOCKETS_MAX = 8;
/** Clients that a session knows by their tokens; the one away longest is forgotten. */
export const CLIENTS_MAX = 16;
/** One page server opens the sessions of all its users with one key. */
export const SESSIONS_PER_CALLER_MAX = 10_000;

/** A person types a few frames a second; what an agent sends at once fits into the burst. */
export const FRAMES_PER_SECOND_MAX = 50;
export const FRAMES_BURST_MAX = 100;
/** Frames over the rate after which the connection is closed: at the rate's double, 10 s. */
export const FRAMES_REFUSED_MAX = 500;

/** What a session keeps for clients that come back, whichever is reached first. */
export const EVENTS_KEPT_MAX = 20_000;
export const BYTES_KEPT_MAX = 8 * 1_048_576;
/** Turns whose messages are recognised when they come again; past it the backend still does. */
export const TURNS_KEPT_MAX = 1_000;

/** Unsent bytes of one connection in the isolate, which has 128 MiB for all its objects. */
export const UNSENT_BYTES_MAX = 1_048_576;
/** Frames read from storage at once when a client has to catch up. */
export const REPLAY_PAGE_FRAMES = 100;

/**
 * Events that have been sent and not saved; past it they are saved. After an eviction so many may have to be made
 * again before another turn gets a number: the backend has them, and gives them in one go. More than a turn has
 * between two saves at 50 events a second.
 */
export const UNSAVED_EVENTS_MAX = 128;
/** Deltas that are put into one frame. */
export const DELTAS_PER_FRAME_MAX = 256;
/** And their length together, past which they are sent at once: what a model says in 50 ms is a thousandth of it. */
export const DELTA_FRAME_CHARACTERS_MAX = 256 * 1_024;
/**
 * Characters of one row of SQLite; a longer frame has several. A row has at most 2 MB on Cloudflare, and no character
 * takes more than three bytes.
 */
export const ROW_CHARACTERS_MAX = 512 * 1_024;

/** Length of ids of sessions and clients, and of secrets: characters of A-Z a-z 0-9, about 6 bits each. */
export const SESSION_ID_CHARACTERS = 22;
export const SECRET_CHARACTERS = 43;

/** The times of a session, milliseconds. */
export interface SessionTimings {
  /** Between two frames of deltas of one turn: below what a reader notices. */
  readonly coalesceMs: number;
  /**
   * Between sending and saving. A commit costs more than a hundred frames: workerd waits for the disk, and with it
   * every session of the machine, and what is sent in the meantime waits for the commit.
   */
  readonly saveAfterMs: number;
  /** While turns are in flight, an alarm brings an evicted object back after so long. */
  readonly recoverAfterMs: number;
  /** Given to a turn that an eviction cut, before others get numbers; see `frame-log.ts`. */
  readonly catchUpMs: number;
  /** A connection that sent nothing for so long is dead: clients ping every 25 s. */
  readonly silentMs: number;
  /** A connection that makes no room for so long is cut. */
  readonly slowReaderMs: number;
  /** Between two looks at whether a slow connection has room. */
  readonly slowReaderPollMs: number;
  /** How long a ticket may be used. */
  readonly ticketMs: number;
  /** How long a session waits for somebody to come back, and how long a resume token is good. */
  readonly idleMs: number;
  /** How long a client that is away still holds frames back from being dropped. */
  readonly clientAwayMs: number;
  /** Age at which frames are dropped, acknowledged or not. */
  readonly frameAgeMs: number;
}

/** The times that hold outside of tests. */
export const SESSION_TIMINGS: SessionTimings = {
  coalesceMs: 50,
  saveAfterMs: 2_000,
  recoverAfterMs: 5_000,
  catchUpMs: 10_000,
  silentMs: 75_000,
  slowReaderMs: 30_000,
  slowReaderPollMs: 250,
  ticketMs: 30_000,
  idleMs: 24 * 3_600_000,
  clientAwayMs: 600_000,
  frameAgeMs: 24 * 3_600_000,
};
