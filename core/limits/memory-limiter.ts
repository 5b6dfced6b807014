/**
 * A limiter in the memory of one process or isolate: exact there, blind to all others. The backend's own where
 * nothing is configured, and the last resort of the edge.
 */
import { LruMap } from "../directory/lru-map.ts";
import type { Clock } from "../resilience/deadline.ts";
import { applyToCounter, type CounterOperation, type CounterState, decided } from "./counter.ts";
import type { Decision, Limiter, LimiterCall } from "./limiter.ts";

/** Counters kept; the one that was not used for longest is forgotten first. Some 200 bytes each. */
const COUNTERS_MAX = 20_000;

/** Decides at once; never fails. */
export class MemoryLimiter implements Limiter {
  readonly #counters = new LruMap<CounterState>(COUNTERS_MAX);
  readonly #now: Clock;

  /** @param now Unix epoch, milliseconds */
  constructor(now: Clock) {
    this.#now = now;
  }

  async takeRequest({ counter, limit }: LimiterCall): Promise<Decision> {
    return this.#apply(counter, { kind: "request", limit });
  }

  async reserveTokens({ counter, limit }: LimiterCall, tokens: number): Promise<Decision> {
    return this.#apply(counter, { kind: "reserve", limit, tokens });
  }

  async settleTokens({ counter, limit }: LimiterCall, difference: number): Promise<void> {
    this.#apply(counter, { kind: "settle", limit, difference });
  }

  #apply(counter: string, operation: CounterOperation): Decision {
    const { state, decision } = applyToCounter(this.#counters.get(counter) ?? {}, operation, this.#now());
    this.#counters.set(counter, state);
    return decided(decision, "memory");
  }
}
