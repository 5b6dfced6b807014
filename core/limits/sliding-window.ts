/**
 * The arithmetic of a sliding window counter: the count of the current fixed window, and of the one before it as much
 * as still lies within the last 60 s. The same approximation as `slidingWindow` of @upstash/ratelimit, rounded down as there: just
 * after a minute has begun, it may admit one request that an exact count would refuse.
 */
import { WINDOW_MS } from "./limiter.ts";

/** The counts of two windows in a row. */
export interface WindowState {
  /** Number of the current window since the epoch. */
  readonly window: number;
  readonly current: number;
  readonly previous: number;
}

/** What became of one request. */
export interface WindowOutcome {
  readonly state: WindowState;
  readonly admitted: boolean;
  readonly remaining: number;
  readonly resetMs: number;
  readonly retryAfterMs: number;
}

/** Counts one request at `nowMs` (Unix epoch) against a limit; a refused one is not counted. */
export function takeRequest(before: WindowState | undefined, limit: number, nowMs: number): WindowOutcome {
  const state = advance(before, Math.floor(nowMs / WINDOW_MS));
  const elapsedMs = nowMs % WINDOW_MS;
  const used = Math.floor((1 - elapsedMs / WINDOW_MS) * state.previous) + state.current;
  const resetMs = WINDOW_MS - elapsedMs;
  if (used >= limit) {
    const retryAfterMs = retryAfter(state, limit, elapsedMs);
    return { state, admitted: false, remaining: 0, resetMs, retryAfterMs };
  }
  const counted = { ...state, current: state.current + 1 };
  return { state: counted, admitted: true, remaining: limit - used - 1, resetMs, retryAfterMs: 0 };
}

/** A clock that went back stays in the window it was in. */
function advance(before: WindowState | undefined, window: number): WindowState {
  if (!before || window > before.window + 1) return { window, current: 0, previous: 0 };
  if (window <= before.window) return before;
  return { window, current: 0, previous: before.current };
}

/** When one request fits again: as the previous window fades, or else as this one does, as the next one's previous. */
function retryAfter({ current, previous }: WindowState, limit: number, elapsedMs: number): number {
  const restMs = WINDOW_MS - elapsedMs;
  const fadedMs = (count: number, allowed: number) => WINDOW_MS * Math.max(0, 1 - allowed / count);
  if (current < limit) return clampMs(fadedMs(previous, limit - current) - elapsedMs, restMs);
  return Math.ceil(restMs + fadedMs(current, limit));
}

function clampMs(waitMs: number, maxMs: number): number {
  return Math.ceil(Math.min(Math.max(waitMs, 1), maxMs));
}
