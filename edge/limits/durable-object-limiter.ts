/**
 * The limiter on Durable Objects: a counter is always in the same one, wherever in the world it is asked from. The
 * counters of a tenant's keys share a few objects, because one for each key would have to be started for each key;
 * counters of two tenants never share one, so that no tenant's load slows another's decisions.
 */
import { type CounterDecision, type CounterOperation, decided } from "../../core/limits/counter.ts";
import type { ProbedLimiter } from "../../core/limits/fallback-limiter.ts";
import type { Decision, LimiterCall } from "../../core/limits/limiter.ts";

/** The binding of `RateLimiterObject`, as far as it is used here. */
export interface LimiterNamespace {
  getByName(name: string): { apply(counter: string, operation: CounterOperation): Promise<CounterDecision> };
}

/** Objects for the keys of one tenant; each decides some thousand times a second. */
const OBJECTS_PER_TENANT = 16;
/** A counter's name begins with its tenant's: `tenant/<tenant>`, and for a key what tells it from the others. */
const COUNTER_OF_KEY = /^(tenant\/[^/]+)\/(.+)$/;

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
      .getByName(objectOf(counter))
      .apply(counter, operation);
    return decided({ admitted, remaining, resetMs, retryAfterMs }, this.name);
  }
}

/** The name of the object that has a counter: the tenant's own budget has one to itself. */
function objectOf(counter: string): string {
  const [, tenant, key] = COUNTER_OF_KEY.exec(counter) ?? [];
  if (tenant === undefined || key === undefined) return counter;
  return `${tenant}/keys/${spread(key) % OBJECTS_PER_TENANT}`;
}

/** FNV-1a, 32 bits: even, and the same in every isolate. */
function spread(text: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) {
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193) >>> 0;
  }
  return hash;
}
