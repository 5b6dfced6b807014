/**
 * Makes a call, and makes it again on the next address when the first one failed. Safe for messages, as a backend
 * runs a message id once, however often it arrives, and for calls about a task. (A message that one process took and
 * another gets runs there too, unless they share a store.)
 */
import { ParleyError } from "../../core/errors/parley-error.ts";
import { fullJitterMs, sleep } from "../../core/resilience/full-jitter.ts";
import type { AddressBreaker } from "./address-breaker.ts";
import type { AddressPool } from "./address-pool.ts";
import type { BackendCall } from "./agent-backend.ts";
import { type BackendFailure, toBackendFailure } from "./backend-failure.ts";

/** Calls that may fail per request, the first included: a third that fails says that more would. */
export const ATTEMPTS_MAX = 3;
const BACKOFF = { baseMs: 50, capMs: 1_000 };

/** What is known of an address here. */
interface Address {
  readonly name: string;
  readonly breaker: AddressBreaker;
}

/** A call and where it can be made. */
export interface AddressedCall<A extends Address, Result> {
  readonly pool: AddressPool<A>;
  readonly call: BackendCall;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  /** Makes the call; what it throws is translated, and reported to the address's breaker. */
  readonly run: (address: A) => Promise<Result>;
  /**
   * The call is about a task, which one address may know and another not: processes without a shared store keep
   * their own. `not_found` is then the answer when every address says so; while one of them cannot be asked,
   * nobody knows, and the answer is that address's failure.
   */
  readonly aboutTask?: boolean;
}

/** @throws ParleyError the last failure, or `unavailable` when no breaker lets a call pass */
export async function tryAddresses<A extends Address, Result>({
  pool,
  call,
  random,
  run,
  aboutTask = false,
}: AddressedCall<A, Result>): Promise<Result> {
  const tried = new Set<A>();
  const withoutTask = new Set<A>();
  let failures = 0;
  let address = pool.pick(tried, withoutTask);
  if (!address) throw allOpen(pool.waitMs(withoutTask));
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
      if (aboutTask && failure.address === "answered" && failure.error.code === "not_found") {
        withoutTask.add(address);
        if (withoutTask.size === pool.size) throw failure.error;
        address = pool.pick(tried, withoutTask);
        if (!address) throw allOpen(pool.waitMs(withoutTask));
        continue;
      }
      failures += 1;
      const mayRetry = failure.address === "failed" && failures < ATTEMPTS_MAX;
      const next = mayRetry ? pool.pick(tried, withoutTask) : undefined;
      if (!next) throw failure.error;
      // What an address asked for (`Retry-After`) holds for that address, not for the next one.
      const minimumMs = next === address ? failure.error.retryAfterMs : 0;
      const waitMs = fullJitterMs(failures, BACKOFF, random, minimumMs);
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
