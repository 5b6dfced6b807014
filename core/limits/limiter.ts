/**
 * The port to a limiter: counts requests and holds token budgets under names that its caller chooses. Which
 * counters a caller has, and what a refusal is answered with, is the business of `admission.ts`.
 */

/** Both kinds of limits are per minute. */
export const WINDOW_MS = 60_000;

/** What a limiter says. */
export interface Decision {
  readonly admitted: boolean;
  /** Requests, or tokens, that are left; whole, not negative. */
  readonly remaining: number;
  /** Until the count starts anew, or the bucket is full again, milliseconds. */
  readonly resetMs: number;
  /** Refused only: when the same might be admitted at the earliest, milliseconds; 0 when admitted. */
  readonly retryAfterMs: number;
  /** The limiter that decided; it must settle what it reserved. */
  readonly decidedBy: LimiterName;
}

/** Which limiter: where its counts are. */
export type LimiterName = "upstash" | "durable-object" | "memory" | "none";

/** Keeps work going after the answer, where the platform needs to be told: `waitUntil` of a Worker. */
export type InBackground = (work: Promise<unknown>) => void;

/** What a limiter is asked, or told. */
export interface LimiterCall {
  /** The counter's name; it begins with the tenant. */
  readonly counter: string;
  /** Per minute. */
  readonly limit: number;
  readonly inBackground: InBackground;
}

/**
 * Counts atomically: of calls in parallel, no more than the limit are admitted. A refused call costs nothing.
 * Whatever is thrown means that this limiter cannot decide; it is never a refusal.
 */
export interface Limiter {
  /** One request; at most `limit` in any 60 s, by a sliding window. */
  takeRequest(call: LimiterCall): Promise<Decision>;
  /** Takes tokens out of a bucket that holds `limit` and refills in 60 s. @param tokens at most `limit` */
  reserveTokens(call: LimiterCall, tokens: number): Promise<Decision>;
  /**
   * Corrects a reservation: takes `difference` more, even below zero, or with a negative one puts tokens back, up
   * to what the bucket holds.
   */
  settleTokens(call: LimiterCall, difference: number, decidedBy: LimiterName): Promise<void>;
}
