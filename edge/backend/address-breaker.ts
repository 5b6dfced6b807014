/**
 * The breaker of one backend address. States:
 *
 * - closed: calls pass; failures in a row are counted.
 * - open: after {@link FAILURES_MAX} of them, calls are refused for {@link OPEN_MS}.
 * - half-open: then one call passes as a probe. Its success closes the breaker, its failure opens it again. While
 *   it runs, or if nothing is ever heard of it, others are refused for another {@link OPEN_MS}.
 *
 * Cockatiel's threshold decides, but not its policy, which wraps the call: other requests would wait on the
 * probe's promise, which workerd forbids between requests, and a probe whose client goes away takes its promise
 * with it, so that the policy would stay half-open for ever. Here outcomes are reported and all state is plain data.
 */
import { ConsecutiveBreaker } from "cockatiel";
import type { Clock } from "../../core/resilience/deadline.ts";

/** Failures in a row that open a breaker: more than the attempts of one request, so that one cannot. */
export const FAILURES_MAX = 5;
/** How long an open breaker refuses calls: a process needs a few seconds to start again. */
export const OPEN_MS = 5_000;

/** See above. Its state lives as long as the isolate. */
export class AddressBreaker {
  readonly #failures = new ConsecutiveBreaker(FAILURES_MAX);
  readonly #now: Clock;
  /** Undefined when closed. */
  #refusesUntilMs: number | undefined;

  constructor(now: Clock) {
    this.#now = now;
  }

  /** Milliseconds until a call may pass; 0 when one may now. */
  waitMs(): number {
    return this.#refusesUntilMs === undefined ? 0 : Math.max(0, this.#refusesUntilMs - this.#now());
  }

  /** Call just before a call is made that {@link waitMs} allows; the first of an open breaker is its probe. */
  admit(): void {
    if (this.#refusesUntilMs !== undefined) this.#refusesUntilMs = this.#now() + OPEN_MS;
  }

  /** The address answered, be it with an error of its own making. */
  succeeded(): void {
    this.#failures.success();
    this.#refusesUntilMs = undefined;
  }

  /** The address could not be reached or did not answer as expected. */
  failed(): void {
    if (this.#failures.failure()) this.#refusesUntilMs = this.#now() + OPEN_MS;
  }
}
