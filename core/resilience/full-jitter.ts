/**
 * Waiting between attempts: exponential backoff with full jitter (AWS Architecture Blog, "Exponential Backoff
 * and Jitter"): `random(0, min(cap, base · 2^(attempt − 1)))`, and never less than the server asked for.
 */

/** How long to wait. */
export interface BackoffOptions {
  baseMs: number;
  capMs: number;
}

/**
 * @param attempt number of the attempt that just failed, from 1
 * @param random uniform in [0, 1)
 * @param minimumMs what the other side asked for (`Retry-After`); added to, never shortened
 * @returns milliseconds to wait before the next attempt
 */
export function fullJitterMs(
  attempt: number,
  { baseMs, capMs }: BackoffOptions,
  random: () => number,
  minimumMs = 0,
): number {
  return minimumMs + random() * Math.min(capMs, baseMs * 2 ** (attempt - 1));
}

/** Resolves after `delayMs`, or rejects at once with the signal's reason when it aborts. */
export function sleep(delayMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    const onAbort = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", onAbort);
      resolve();
    }, delayMs);
    signal.addEventListener("abort", onAbort, { once: true });
  });
}
