/** A call of something that may be slow or gone, for callers who go on without it. */
import { abortable } from "../../core/directory/abortable.ts";
import { ParleyError } from "../../core/errors/parley-error.ts";
import type { CircuitBreaker } from "./circuit-breaker.ts";

/** What is called, and who hears that it failed. */
export interface GuardedCall<T> {
  readonly run: (signal: AbortSignal) => Promise<T>;
  readonly onFailure: (error: unknown) => void;
}

/** What `run` gives; undefined when the breaker is open, when it takes too long or fails. Throws the signal's reason. */
export async function guardedCall<T>(
  breaker: CircuitBreaker,
  signal: AbortSignal,
  timeoutMs: number,
  { run, onFailure }: GuardedCall<T>,
): Promise<T | undefined> {
  signal.throwIfAborted();
  const permit = breaker.enter();
  if (!permit) return undefined;
  const limited = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
  try {
    const result = await abortable(run(limited), limited);
    permit.succeeded();
    return result;
  } catch (error) {
    if (signal.aborted) {
      permit.released();
      throw signal.reason;
    }
    if (error instanceof ParleyError && error.code === "invalid_argument") permit.released();
    else permit.failed({});
    onFailure(error);
    return undefined;
  }
}
