/**
 * One counter as a Durable Object: the runtime runs a single one of each name, which is what makes its counts exact.
 * It counts in memory and writes now and then, because a write costs far more than a decision: what a crash loses is
 * the last seconds' counts, and a counter that was hardly used is not written at all.
 */
import { DurableObject } from "cloudflare:workers";
import {
  applyToCounter,
  type CounterDecision,
  type CounterOperation,
  type CounterState,
} from "../../core/limits/counter.ts";

const STATE_KEY = "counter";
/** Well below the 10 s without calls after which the runtime may put an object out of memory. */
const WRITE_AFTER_MS = 2_000;
/** A counter with more than this left of its limit may be forgotten. */
const FORGETTABLE_SHARE = 0.9;
/** A counter that nobody used for so long is as good as new, and its storage is given back. */
const IDLE_MS = 10 * 60_000;

/** See above. */
export class RateLimiterObject extends DurableObject {
  #state: CounterState = {};
  #usedAtMs = 0;
  #isWriteDue = false;
  #isAlarmSet = false;

  constructor(ctx: ConstructorParameters<typeof DurableObject>[0], env: unknown) {
    super(ctx, env);
    void ctx.blockConcurrencyWhile(async () => {
      const stored = await ctx.storage.get<CounterState>(STATE_KEY);
      if (!stored) return;
      this.#state = stored;
      this.#isAlarmSet = (await ctx.storage.getAlarm()) !== null;
    });
  }

  /** Decides without waiting for anything, so that calls cannot come between. */
  apply(operation: CounterOperation): CounterDecision {
    this.#usedAtMs = Date.now();
    const { state, decision } = applyToCounter(this.#state, operation, this.#usedAtMs);
    this.#state = state;
    if (!this.#isWriteDue && decision.remaining <= operation.limit * FORGETTABLE_SHARE) {
      this.#isWriteDue = true;
      setTimeout(() => this.#write(), WRITE_AFTER_MS);
    }
    return decision;
  }

  /** Forgets the counter once it is idle, and looks again later while it is not. */
  async alarm(): Promise<void> {
    const idleAtMs = this.#usedAtMs + IDLE_MS;
    if (Date.now() < idleAtMs) return this.ctx.storage.setAlarm(idleAtMs);
    this.#state = {};
    this.#isAlarmSet = false;
    await this.ctx.storage.deleteAll();
  }

  #write(): void {
    this.#isWriteDue = false;
    // Unconfirmed: answers that go out meanwhile do not wait for the disk.
    void this.ctx.storage.put(STATE_KEY, this.#state, { allowUnconfirmed: true });
    if (this.#isAlarmSet) return;
    this.#isAlarmSet = true;
    void this.ctx.storage.setAlarm(Date.now() + IDLE_MS, { allowUnconfirmed: true });
  }
}
