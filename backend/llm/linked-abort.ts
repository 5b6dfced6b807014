/**
 * A controller of our own that also follows the caller's signal: for one call, released when the call is over.
 * (`AbortSignal.any` keeps its sources' bookkeeping until a garbage collection; this leaves nothing behind.)
 */

/** The controller, and the end of its link to the caller's signal. */
export interface LinkedAbort {
  readonly controller: AbortController;
  /** Stops following; safe to call more than once. */
  unlink(): void;
}

/** Follows `signal` with its reason, from now until `unlink`. */
export function linkAbort(signal: AbortSignal): LinkedAbort {
  const controller = new AbortController();
  const follow = () => controller.abort(signal.reason);
  if (signal.aborted) follow();
  else signal.addEventListener("abort", follow, { once: true });
  return { controller, unlink: () => signal.removeEventListener("abort", follow) };
}
