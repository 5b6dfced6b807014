/**
 * Keeps retries from multiplying the load on a host that is failing (gRFC A6, "retry throttling"): a bucket that
 * every failure takes from and every success gives a little to. Shared by all who ask that host.
 */

/** Full at the beginning. */
const TOKENS_MAX = 10;
const TOKENS_PER_SUCCESS = 0.1;

/** The budget of one host. */
export class RetryBudget {
  #tokens = TOKENS_MAX;

  /** Whether a failed call may be tried again: while more than half is left. */
  get allowsRetry(): boolean {
    return this.#tokens > TOKENS_MAX / 2;
  }

  /** A call failed in a way that would be tried again. */
  failed(): void {
    this.#tokens = Math.max(0, this.#tokens - 1);
  }

  succeeded(): void {
    this.#tokens = Math.min(TOKENS_MAX, this.#tokens + TOKENS_PER_SUCCESS);
  }
}
