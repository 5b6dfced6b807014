/**
 * Keeps second calls, made because the first is slow, a small share of all: when a provider becomes slow as a
 * whole, hedging every request would double its load, and the bill.
 */

/** Of the requests that may be hedged, at most this share is, over time. */
export const HEDGED_SHARE_MAX = 0.1;
/** Hedges that may be saved up: a short slow spell is when they are of use. */
const HEDGES_SAVED_MAX = 10;

/** The budget of one host. */
export class HedgeBudget {
  /** One from the beginning: the first slow request need not wait for nine quick ones. */
  #hedges = 1;

  /** A request came that may be hedged. */
  earn(): void {
    this.#hedges = Math.min(HEDGES_SAVED_MAX, this.#hedges + HEDGED_SHARE_MAX);
  }

  /** Whether one may be made now; it counts as made. */
  take(): boolean {
    // The sum of many tenths falls a little short of a whole.
    if (this.#hedges < 1 - 1e-9) return false;
    this.#hedges -= 1;
    return true;
  }
}
