/** How often, and after what pause, a program that ended unexpectedly is started again. */

/** A program that ends this often within the window has a fault that a restart does not mend. */
export const RESTARTS_MAX = 5;
export const RESTART_WINDOW_MS = 60_000;
const FIRST_DELAY_MS = 100;

/** Counts restarts within a sliding window. */
export class RestartBudget {
  #restartedAtMs: number[] = [];

  /** Takes a restart at the time `nowMs`: the pause before it, milliseconds; undefined when there was one too many. */
  take(nowMs: number): number | undefined {
    this.#restartedAtMs = this.#restartedAtMs.filter((atMs) => nowMs - atMs < RESTART_WINDOW_MS);
    if (this.#restartedAtMs.length >= RESTARTS_MAX) return undefined;
    this.#restartedAtMs.push(nowMs);
    return FIRST_DELAY_MS * 2 ** (this.#restartedAtMs.length - 1);
  }
}
