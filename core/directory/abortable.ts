/** Waits that end when a signal says so, whatever becomes of the thing waited for. */
import { ParleyError } from "../errors/parley-error.ts";
import { databaseUnavailable } from "./sql-failure.ts";

/**
 * Waits for `promise` until `signal` aborts; then rejects with {@link abortFailure}. The work behind the promise
 * goes on, and a later failure of it is not reported as unhandled.
 */
export function abortable<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(abortFailure(signal));
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
  });
}

/**
 * The error for a wait on a store that its signal ended: the signal's own ParleyError, `unavailable` when the
 * signal was a timeout, otherwise `canceled`.
 */
export function abortFailure(signal: AbortSignal): ParleyError {
  const reason: unknown = signal.reason;
  if (reason instanceof ParleyError) return reason;
  if (reason instanceof Error && reason.name === "TimeoutError") return databaseUnavailable(reason);
  return new ParleyError("canceled", "the request was canceled", { cause: reason });
}
