/**
 * Makes a call, and makes it again on the next address when the first one failed. Safe for ProcessMessage and for
 * a StreamReply that has not sent an event: a backend runs a message id once, however often it arrives. (A message
 * that one process took and another gets runs there too; only the shared store of a later issue ends that.)
 */
import { ParleyError } from "../../core/errors/parley-error.ts";
import { fullJitterMs, sleep } from "../../core/resilience/full-jitter.ts";
import type { AddressBreaker } from "./address-breaker.ts";
import type { AddressPool } from "./address-pool.ts";
import type { BackendCall } from "./agent-backend.ts";
import { type BackendFailure, toBackendFailure } from "./backend-failure.ts";

/** Calls per request, the first included: a third that fails says that more would. */
export const ATTEMPTS_MAX = 3;
const BACKOFF = { baseMs: 50, capMs: 1_000 };

/** What is known of an address here. */
interface Address {
  readonly name: string;
  readonly breaker: AddressBreaker;
}

/**
 * @param run makes the call; what it throws is translated, and reported to the address's breaker
 * @throws ParleyError the last failure, or `unavailable` when no breaker lets a call pass
 */
export async function tryAddresses<A extends Address, Result>(
  pool: AddressPool<A>,
  call: BackendCall,
  random: () => number,
  run: (address: A) => Promise<Result>,
): Promise<Result> {
  const tried = new Set<A>();
  let address = pool.pick(tried);
  if (!address) throw allOpen(pool.waitMs());
  for (let attempt = 1; ; attempt++) {
    tried.add(address);
    call.onAttempt(address.name, attempt);
    try {
      const result = await run(address);
      address.breaker.succeeded();
      return result;
    } catch (cause) {
      const failure = toBackendFailure(cause, call.signal);
      reportFailure(address.breaker, failure);
      const next = failure.address === "failed" && attempt < ATTEMPTS_MAX ? pool.pick(tried) : undefined;
      if (!next) throw failure.error;
      // What an address asked for (`Retry-After`) holds for that address, not for the next one.
      const minimumMs = next === address ? failure.error.retryAfterMs : 0;
      const waitMs = fullJitterMs(attempt, BACKOFF, random, minimumMs);
      if (waitMs >= call.deadline.remainingMs()) throw failure.error;
      await sleep(waitMs, call.signal);
      address = next;
    }
  }
}

/** Tells the breaker what a failure says about its address. */
export function reportFailure(breaker: AddressBreaker, failure: BackendFailure): void {
  if (failure.address === "failed") breaker.failed();
  if (failure.address === "answered") breaker.succeeded();
}

function allOpen(waitMs: number): ParleyError {
  return new ParleyError("unavailable", "no agent service can be reached; try again in a moment", {
    reason: "all-backends-down",
    retryable: true,
    retryAfterMs: waitMs,
  });
}
