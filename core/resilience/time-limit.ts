/**
 * A limit of time that can be called off. `AbortSignal.timeout` cannot, and a timer that is left keeps a Durable Object
 * in memory.
 */

/** See above. */
export interface TimeLimit {
  /** Aborts with a `TimeoutError`, as that of `AbortSignal.timeout`, when the time is up. */
  readonly signal: AbortSignal;
  /** To be called when what was limited is done; the signal does not abort any more. */
  clear(): void;
}

/** Begins at once. */
export function startTimeLimit(limitMs: number): TimeLimit {
  const abort = new AbortController();
  const onTimeUp = () => abort.abort(new DOMException(`it took longer than ${limitMs} ms`, "TimeoutError"));
  const timer = setTimeout(onTimeUp, limitMs);
  return { signal: abort.signal, clear: () => clearTimeout(timer) };
}
