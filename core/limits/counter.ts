/** One counter's state and what can be done to it: what the limiters in memory and in a Durable Object keep. */
import type { Decision, LimiterName } from "./limiter.ts";
import { takeRequest, type WindowState } from "./sliding-window.ts";
import { type BucketState, reserveTokens, settleTokens } from "./token-bucket.ts";

/** Undefined parts have not been used yet. Plain data, to be stored as it is. */
export interface CounterState {
  readonly window?: WindowState;
  readonly bucket?: BucketState;
}

/** What a counter is asked. `limit` is per minute. */
export type CounterOperation =
  | { readonly kind: "request"; readonly limit: number }
  | { readonly kind: "reserve"; readonly limit: number; readonly tokens: number }
  | { readonly kind: "settle"; readonly limit: number; readonly difference: number };

/** A decision, but for who made it; settling decides nothing and is always admitted. */
export type CounterDecision = Omit<Decision, "decidedBy">;

/** The state after an operation at `nowMs` (Unix epoch), and the decision. */
export function applyToCounter(
  before: CounterState,
  operation: CounterOperation,
  nowMs: number,
): { state: CounterState; decision: CounterDecision } {
  const { limit } = operation;
  switch (operation.kind) {
    case "request": {
      const { state, ...decision } = takeRequest(before.window, limit, nowMs);
      return { state: { ...before, window: state }, decision };
    }
    case "reserve": {
      const { state, ...decision } = reserveTokens(before.bucket, limit, operation.tokens, nowMs);
      return { state: { ...before, bucket: state }, decision };
    }
    case "settle": {
      const bucket = settleTokens(before.bucket, limit, operation.difference, nowMs);
      const decision = { admitted: true, remaining: Math.max(0, Math.floor(bucket.tokens)) };
      return { state: { ...before, bucket }, decision: { ...decision, resetMs: 0, retryAfterMs: 0 } };
    }
  }
}

/** A decision with the name of the limiter that made it. */
export function decided(decision: CounterDecision, decidedBy: LimiterName): Decision {
  return { ...decision, decidedBy };
}
