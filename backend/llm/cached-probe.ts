/** Remembers for a while what a question to another server gave, and asks it once for all who wait. */
import type { Clock } from "../../core/resilience/deadline.ts";

/** A server that answers is taken to be there for this long. */
export const POSITIVE_MS = 30_000;
/** One that does not is asked again soon: somebody may just have started it. */
export const NEGATIVE_MS = 5_000;

/** What is asked, and with what limits. */
export interface CachedProbeOptions<T> {
  readonly ask: (signal: AbortSignal) => Promise<T>;
  readonly timeoutMs: number;
  readonly now: Clock;
}

/** One question. */
export class CachedProbe<T> {
  readonly #options: CachedProbeOptions<T>;
  #known: { value: T | undefined; untilMs: number } | undefined;
  #asking: Promise<T | undefined> | undefined;

  constructor(options: CachedProbeOptions<T>) {
    this.#options = options;
  }

  /**
   * The answer, at most {@link POSITIVE_MS} old; undefined when there was none, within the time limit or within
   * the last {@link NEGATIVE_MS}. Rejects only with the reason of `signal`, which ends the wait of this caller,
   * not the question.
   */
  get(signal: AbortSignal): Promise<T | undefined> {
    if (this.#known && this.#options.now() < this.#known.untilMs) return Promise.resolve(this.#known.value);
    this.#asking ??= this.#ask();
    return untilAborted(this.#asking, signal);
  }

  async #ask(): Promise<T | undefined> {
    const { ask, timeoutMs, now } = this.#options;
    const value = await ask(AbortSignal.timeout(timeoutMs)).catch(() => undefined);
    this.#known = { value, untilMs: now() + (value === undefined ? NEGATIVE_MS : POSITIVE_MS) };
    this.#asking = undefined;
    return value;
  }
}

function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    const onAbort = () => reject(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
  });
}
