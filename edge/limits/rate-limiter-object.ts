/**
 * Counters of one tenant as a Durable Object: the runtime runs a single one of each name, which is what makes their
 * counts exact. It counts in memory and writes now and then, because a write costs far more than a decision: what a
 * crash loses is the last seconds' counts, and a counter that was hardly used is not written at all.
 */
import { DurableObject } from "cloudflare:workers";
import {
  applyToCounter,
  type CounterDecision,
  type CounterOperation,
  type CounterState,
} from "../../core/limits/counter.ts";

/** Well below the 10 s without calls after which the runtime may put an object out of memory. */
const WRITE_AFTER_MS = 2_000;
/** Of one `put`, by the platform's limit. */
const WRITTEN_AT_ONCE_MAX = 128;
/** A counter with more than this left of its limit may be forgotten. */
const FORGETTABLE_SHARE = 0.9;
/** A counter that nobody used for so long is as good as new, and its storage is given back. */
const IDLE_MS = 10 * 60_000;
/** Counters in memory; past it the one used longest ago is forgotten, which only ever admits more. */
const COUNTERS_MAX = 50_000;

interface Counter {
  readonly state: CounterState;
  readonly usedAtMs: number;
}

/** See above. */
export class RateLimiterObject extends DurableObject {
  /** By name, the one used longest ago first. */
  #counters = new Map<string, Counter>();
  readonly #unwritten = new Set<string>();
  #isWriteDue = false;
  #isAlarmSet = false;

  constructor(ctx: ConstructorParameters<typeof DurableObject>[0], env: unknown) {
    super(ctx, env);
    void ctx.blockConcurrencyWhile(async () => {
      this.#counters = new Map(await ctx.storage.list<Counter>({ limit: COUNTERS_MAX }));
      this.#isAlarmSet = (await ctx.storage.getAlarm()) !== null;
    });
  }

  /** Decides without waiting for anything, so that calls cannot come between. */
  apply(name: string, operation: CounterOperation): CounterDecision {
    const usedAtMs = Date.now();
    const before = this.#counters.get(name)?.state ?? {};
    const { state, decision } = applyToCounter(before, operation, usedAtMs);
    this.#counters.delete(name);
    this.#counters.set(name, { state, usedAtMs });
    const oldest = this.#counters.size > COUNTERS_MAX ? this.#counters.keys().next().value : undefined;
    if (oldest !== undefined) this.#counters.delete(oldest);
    if (decision.remaining <= operation.limit * FORGETTABLE_SHARE) this.#writeLater(name);
    return decision;
  }

  /** Forgets the counters that are idle, and looks again later while there are others. */
  async alarm(): Promise<void> {
    const idleSinceMs = Date.now() - IDLE_MS;
    const idle = [...this.#counters].filter(([, { usedAtMs }]) => usedAtMs <= idleSinceMs);
    for (const [name] of idle) this.#counters.delete(name);
    if (this.#counters.size === 0) {
      this.#isAlarmSet = false;
      return this.ctx.storage.deleteAll();
    }
    for (const names of chunks(idle.map(([name]) => name))) await this.ctx.storage.delete(names);
    await this.ctx.storage.setAlarm(Date.now() + IDLE_MS);
  }

  #writeLater(name: string): void {
    this.#unwritten.add(name);
    if (this.#isWriteDue) return;
    this.#isWriteDue = true;
    setTimeout(() => this.#write(), WRITE_AFTER_MS);
  }

  #write(): void {
    this.#isWriteDue = false;
    const written = [...this.#unwritten].flatMap((name) => {
      const counter = this.#counters.get(name);
      return counter ? [[name, counter] as const] : [];
    });
    this.#unwritten.clear();
    for (const entries of chunks(written)) {
      // Unconfirmed: answers that go out meanwhile do not wait for the disk.
      void this.ctx.storage.put(Object.fromEntries(entries), { allowUnconfirmed: true });
    }
    if (this.#isAlarmSet) return;
    this.#isAlarmSet = true;
    void this.ctx.storage.setAlarm(Date.now() + IDLE_MS, { allowUnconfirmed: true });
  }
}

function chunks<T>(values: readonly T[]): T[][] {
  const count = Math.ceil(values.length / WRITTEN_AT_ONCE_MAX);
  return Array.from({ length: count }, (_, index) =>
    values.slice(index * WRITTEN_AT_ONCE_MAX, (index + 1) * WRITTEN_AT_ONCE_MAX),
  );
}
