/**
 * A limiter with a substitute: while the first fails or is slow, the second decides. The breaker's states:
 *
 * - closed: the first decides; failures in a row are counted.
 * - open: after {@link FAILURES_MAX} of them the second decides at once. Every {@link PROBE_INTERVAL_MS} one call
 *   starts a probe of the first in the background; its success closes the breaker.
 *
 * The state is plain data: in a Worker, requests must not wait for each other's promises. The two count apart, so a
 * caller has at most one more minute's limit when they change over.
 */
import type { Clock } from "../resilience/deadline.ts";
import type { Decision, InBackground, Limiter, LimiterCall, LimiterName } from "./limiter.ts";

/** Failures in a row that open the breaker. */
export const FAILURES_MAX = 3;
/** Time between two probes of a limiter that failed. */
export const PROBE_INTERVAL_MS = 2_000;
/** Longer than this, a decision is late: the second limiter makes it. */
export const DECISION_TIMEOUT_MS = 500;

/** A limiter that can be asked whether it works. */
export interface ProbedLimiter extends Limiter {
  readonly name: LimiterName;
  /** Resolves when it does. */
  probe(): Promise<unknown>;
}

/** What it is made of. */
export interface FallbackOptions {
  readonly first: ProbedLimiter;
  readonly second: Limiter;
  readonly now: Clock;
  /** Told when the breaker opens or closes, and of settlements that were lost. */
  readonly onEvent: (event: LimiterEvent) => void;
}

/** For the log. A lost settlement leaves its reservation; the bucket refills within a minute. */
export interface LimiterEvent {
  readonly limiter: LimiterName;
  readonly state: "failing" | "recovered" | "settlement-lost";
  readonly error?: unknown;
}

/** See above. */
export class FallbackLimiter implements Limiter {
  readonly #options: FallbackOptions;
  #failures = 0;
  /** Undefined while closed. */
  #probeAtMs: number | undefined;

  constructor(options: FallbackOptions) {
    this.#options = options;
  }

  takeRequest(call: LimiterCall): Promise<Decision> {
    return this.#decide(call.inBackground, (limiter) => limiter.takeRequest(call));
  }

  reserveTokens(call: LimiterCall, tokens: number): Promise<Decision> {
    return this.#decide(call.inBackground, (limiter) => limiter.reserveTokens(call, tokens));
  }

  async settleTokens(call: LimiterCall, difference: number, decidedBy: LimiterName): Promise<void> {
    const { first, second, onEvent } = this.#options;
    if (decidedBy !== first.name) return second.settleTokens(call, difference, decidedBy);
    try {
      await withTimeout(first.settleTokens(call, difference, decidedBy));
    } catch (error) {
      onEvent({ limiter: first.name, state: "settlement-lost", error });
    }
  }

  async #decide(inBackground: InBackground, ask: (limiter: Limiter) => Promise<Decision>): Promise<Decision> {
    const { first, second } = this.#options;
    if (this.#probeAtMs !== undefined) {
      this.#probeWhenDue(inBackground);
      return ask(second);
    }
    try {
      const decision = await withTimeout(ask(first));
      this.#failures = 0;
      return decision;
    } catch (error) {
      this.#failed(error);
      return ask(second);
    }
  }

  #failed(error: unknown): void {
    const { first, now, onEvent } = this.#options;
    this.#failures += 1;
    if (this.#failures < FAILURES_MAX || this.#probeAtMs !== undefined) return;
    this.#probeAtMs = now() + PROBE_INTERVAL_MS;
    onEvent({ limiter: first.name, state: "failing", error });
  }

  #probeWhenDue(inBackground: InBackground): void {
    const { first, now, onEvent } = this.#options;
    if (this.#probeAtMs === undefined || now() < this.#probeAtMs) return;
    this.#probeAtMs = now() + PROBE_INTERVAL_MS;
    const recovered = () => {
      if (this.#probeAtMs === undefined) return;
      this.#probeAtMs = undefined;
      this.#failures = 0;
      onEvent({ limiter: first.name, state: "recovered" });
    };
    inBackground(withTimeout(first.probe()).then(recovered, () => undefined));
  }
}

/** The work's outcome, or a failure when it takes too long; what comes later is dropped. */
async function withTimeout<T>(work: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    const error = new Error(`no decision within ${DECISION_TIMEOUT_MS} ms`);
    timer = setTimeout(() => reject(error), DECISION_TIMEOUT_MS);
  });
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}
