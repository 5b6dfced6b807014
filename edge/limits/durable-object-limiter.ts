/** The limiter on Durable Objects: one for each counter's name, wherever in the world it is asked from. */
import { type CounterDecision, type CounterOperation, decided } from "../../core/limits/counter.ts";
import type { ProbedLimiter } from "../../core/limits/fallback-limiter.ts";
import type { Decision, LimiterCall } from "../../core/limits/limiter.ts";

/** The binding of `RateLimiterObject`, as far as it is used here. */
export interface LimiterNamespace {
  getByName(name: string): { apply(operation: CounterOperation): Promise<CounterDecision> };
}

/** A counter that only probes use. */
const PROBE_COUNTER = "probe";
const PROBE: CounterOperation = { kind: "request", limit: 1 };

/** Throws what the runtime throws when an object cannot be reached. */
export class DurableObjectLimiter implements ProbedLimiter {
  readonly name = "durable-object";
  readonly #namespace: LimiterNamespace;

  constructor(namespace: LimiterNamespace) {
    this.#namespace = namespace;
  }

  takeRequest({ counter, limit }: LimiterCall): Promise<Decision> {
    return this.#decide(counter, { kind: "request", limit });
  }

  reserveTokens({ counter, limit }: LimiterCall, tokens: number): Promise<Decision> {
    return this.#decide(counter, { kind: "reserve", limit, tokens });
  }

  async settleTokens({ counter, limit }: LimiterCall, difference: number): Promise<void> {
    await this.#decide(counter, { kind: "settle", limit, difference });
  }

  probe(): Promise<unknown> {
    return this.#decide(PROBE_COUNTER, PROBE);
  }

  async #decide(counter: string, operation: CounterOperation): Promise<Decision> {
    const { admitted, remaining, resetMs, retryAfterMs } = await this.#namespace
      .getByName(counter)
      .apply(operation);
    return decided({ admitted, remaining, resetMs, retryAfterMs }, this.name);
  }
}
