/**
 * A limiter that takes tokens out of a budget in portions and decides from its portion: of a caller with a large
 * budget, most messages then cost no call to where the counts are kept. A portion has been taken out of the budget
 * like any reservation, so what is admitted never exceeds the limit; it is small, it is taken only while more than
 * half of the budget is left, and what is not used of it goes back. Requests are counted one by one, as a count that
 * is taken ahead would let a window slide over it.
 */
import { LruMap } from "../directory/lru-map.ts";
import type { Clock } from "../resilience/deadline.ts";
import type { Decision, Limiter, LimiterCall, LimiterName } from "./limiter.ts";

/** Of a budget, in one portion: a budget too small for two messages in this is asked for every message. */
const PORTION_SHARE = 0.01;
/** What refunds bring beyond this goes back to the budget. */
const PORTIONS_AT_ONCE_MAX = 2;
/** With less than this left of its budget, every message is decided where the counts are. */
const LEASABLE_SHARE = 0.5;
/** After this time what is left of a portion goes back; it is a sixteenth of what refills meanwhile. */
export const PORTION_MS = 10_000;
/** Portions held, one for each budget in use; the one used longest ago is given up, and refills within a second. */
const PORTIONS_MAX = 10_000;

/** Tokens of one budget that were taken out of it and may be given to messages here. */
interface Portion {
  readonly limit: number;
  readonly decidedBy: LimiterName;
  readonly takenAtMs: number;
  /** Left in the budget itself, when it was last asked. */
  readonly remaining: number;
  readonly resetMs: number;
  /** Left of the portion. */
  tokens: number;
}

/** See above. Keeps plain data only: in a Worker, requests must not wait for each other's promises. */
export class LeasingLimiter implements Limiter {
  readonly #inner: Limiter;
  readonly #now: Clock;
  readonly #portions = new LruMap<Portion>(PORTIONS_MAX);
  /** Budgets that are being asked for a portion: others that come meanwhile ask for themselves only. */
  readonly #asking = new Set<string>();

  /** @param now Unix epoch, milliseconds */
  constructor(inner: Limiter, now: Clock) {
    this.#inner = inner;
    this.#now = now;
  }

  takeRequest(call: LimiterCall): Promise<Decision> {
    return this.#inner.takeRequest(call);
  }

  async reserveTokens(call: LimiterCall, tokens: number): Promise<Decision> {
    const held = this.#portionOf(call);
    if (held && held.tokens >= tokens) {
      held.tokens -= tokens;
      return {
        ...{ admitted: true, retryAfterMs: 0, decidedBy: held.decidedBy, resetMs: held.resetMs },
        remaining: held.remaining + held.tokens,
      };
    }
    const portion = Math.floor(call.limit * PORTION_SHARE);
    if (portion < 2 * tokens || this.#asking.has(call.counter))
      return this.#inner.reserveTokens(call, tokens);
    return this.#reserveWithPortion(call, tokens, portion);
  }

  async settleTokens(call: LimiterCall, difference: number, decidedBy: LimiterName): Promise<void> {
    const held = this.#portionOf(call);
    if (!held || held.decidedBy !== decidedBy || held.tokens < difference) {
      return this.#inner.settleTokens(call, difference, decidedBy);
    }
    held.tokens -= difference;
    const excess = held.tokens - PORTIONS_AT_ONCE_MAX * Math.floor(call.limit * PORTION_SHARE);
    if (excess <= 0) return;
    held.tokens -= excess;
    return this.#inner.settleTokens(call, -excess, decidedBy);
  }

  /** Takes the message's tokens, and a portion on top where there is plenty. */
  async #reserveWithPortion(call: LimiterCall, tokens: number, portion: number): Promise<Decision> {
    this.#asking.add(call.counter);
    try {
      const decision = await this.#inner.reserveTokens(call, tokens + portion);
      if (!decision.admitted) return await this.#inner.reserveTokens(call, tokens);
      const { remaining, resetMs, decidedBy } = decision;
      if (remaining < call.limit * LEASABLE_SHARE) {
        this.#giveBack(call, portion, decidedBy);
        return { ...decision, remaining: remaining + portion };
      }
      const left = this.#portionOf(call)?.tokens ?? 0;
      const { limit } = call;
      const held = { limit, decidedBy, takenAtMs: this.#now(), remaining, resetMs, tokens: portion + left };
      this.#portions.set(call.counter, held);
      return { ...decision, remaining: remaining + held.tokens };
    } finally {
      this.#asking.delete(call.counter);
    }
  }

  /** The portion of a budget, while it may be used; one that may not goes back. */
  #portionOf(call: LimiterCall): Portion | undefined {
    const held = this.#portions.get(call.counter);
    if (!held) return undefined;
    if (held.limit === call.limit && this.#now() < held.takenAtMs + PORTION_MS) return held;
    this.#portions.delete(call.counter);
    if (held.tokens > 0) this.#giveBack({ ...call, limit: held.limit }, held.tokens, held.decidedBy);
    return undefined;
  }

  /** What gets lost on the way refills. */
  #giveBack(call: LimiterCall, tokens: number, decidedBy: LimiterName): void {
    call.inBackground(this.#inner.settleTokens(call, -tokens, decidedBy).catch(() => {}));
  }
}
