/**
 * The arithmetic of a token budget: a bucket that holds one minute's tokens and refills evenly. Tokens are reserved
 * before a call and settled after it; only settling may take the bucket below zero, as a debt that refills first.
 */
import { WINDOW_MS } from "./limiter.ts";

/** A bucket at a moment. */
export interface BucketState {
  readonly tokens: number;
  /** Unix epoch, milliseconds: the moment for which `tokens` holds. */
  readonly atMs: number;
}

/** What became of a reservation. */
export interface BucketOutcome {
  readonly state: BucketState;
  readonly admitted: boolean;
  readonly remaining: number;
  readonly resetMs: number;
  readonly retryAfterMs: number;
}

/** Takes tokens if that many are there. A bucket that nobody touched yet is full. */
export function reserveTokens(
  before: BucketState | undefined,
  limit: number,
  tokens: number,
  nowMs: number,
): BucketOutcome {
  const state = refill(before, limit, nowMs);
  if (state.tokens < tokens) {
    return {
      ...{ state, admitted: false, remaining: wholeTokens(state.tokens) },
      resetMs: timeToRefill(limit - state.tokens, limit),
      retryAfterMs: timeToRefill(tokens - state.tokens, limit),
    };
  }
  const left = state.tokens - tokens;
  return {
    state: { ...state, tokens: left },
    ...{ admitted: true, remaining: wholeTokens(left), retryAfterMs: 0 },
    resetMs: timeToRefill(limit - left, limit),
  };
}

/** Takes `difference` tokens whether they are there or not; a negative one puts back what fits. */
export function settleTokens(
  before: BucketState | undefined,
  limit: number,
  difference: number,
  nowMs: number,
): BucketState {
  const { tokens, atMs } = refill(before, limit, nowMs);
  return { atMs, tokens: Math.min(limit, tokens - difference) };
}

/** A lower limit takes effect at once; a clock that went back refills nothing. */
function refill(before: BucketState | undefined, limit: number, nowMs: number): BucketState {
  if (!before) return { tokens: limit, atMs: nowMs };
  const elapsedMs = Math.max(0, nowMs - before.atMs);
  const tokens = Math.min(limit, before.tokens + (elapsedMs * limit) / WINDOW_MS);
  return { tokens, atMs: Math.max(nowMs, before.atMs) };
}

function timeToRefill(tokens: number, limit: number): number {
  return Math.max(1, Math.ceil((tokens * WINDOW_MS) / limit));
}

function wholeTokens(tokens: number): number {
  return Math.max(0, Math.floor(tokens));
}
