/**
 * A limit of time that can be called off. `AbortSignal.timeout` cannot, and a timer that is left keeps a Durable Object
 * in memory.
 */

/** See above. */
export interface TimeLimit {
  /** Aborts when the time is up. */
  readonly signal: AbortSignal;
  /** To be called when what was limited is done; the signal does not abort any more. */
  clear(): void;
}

/**
 * Begins at once.
 *
 * @param makeReason what the signal aborts with; default a `TimeoutError`, as that of `AbortSignal.timeout`
 */
export function startTimeLimit(limitMs: number, makeReason = () => timeoutError(limitMs)): TimeLimit {
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(makeReason()), limitMs);
  return { signal: abort.signal, clear: () => clearTimeout(timer) };
}

function timeoutError(limitMs: number): Error {
  return new DOMException(`it took longer than ${limitMs} ms`, "TimeoutError");
}
