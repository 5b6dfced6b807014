/**
 * Makes a call, and makes it again on the next address when the first one failed. Safe for messages, as a backend
 * runs a message id once, however often it arrives, and for calls about a task. (A message that one process took and
 * another gets runs there too, unless they share a store.)
 */
import { ParleyError } from "../../core/errors/parley-error.ts";
import type { Clock } from "../../core/resilience/deadline.ts";
import { fullJitterMs, sleep } from "../../core/resilience/full-jitter.ts";
import type { AddressBreaker } from "./address-breaker.ts";
import type { AddressPool } from "./address-pool.ts";
import type { BackendCall } from "./agent-backend.ts";
import { type BackendFailure, toBackendFailure } from "./backend-failure.ts";

/** Calls that may fail per request, the first included: a third that fails says that more would. */
export const ATTEMPTS_MAX = 3;
const BACKOFF = { baseMs: 50, capMs: 1_000 };
/** A call that lasted this long before it broke was no refused connection: what it asked for may be under way. */
export const UNDER_WAY_MS = 500;
/**
 * How long such a call is made again, however often it fails and whatever breakers say: within this time another
 * backend has taken the work over, or the same one has started again. It gets the answer that is being made.
 */
export const TAKEOVER_MS = 10_000;

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
  readonly now: Clock;
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
export async function tryAddresses<A extends Address, Result>(
  options: AddressedCall<A, Result>,
): Promise<Result> {
  const { call, run, now } = options;
  const tries = new Tries(options);
  for (let attempt = 1; ; attempt++) {
    const address = await tries.next();
    call.onAttempt(address.name, attempt);
    const startedAtMs = now();
    try {
      const result = await run(address);
      address.breaker.succeeded();
      return result;
    } catch (cause) {
      const failure = toBackendFailure(cause, call.signal);
      reportFailure(address.breaker, failure);
      tries.failed(address, failure, now() - startedAtMs);
    }
  }
}

/** Tells the breaker what a failure says about its address. */
export function reportFailure(breaker: AddressBreaker, failure: BackendFailure): void {
  if (failure.address === "broken" || failure.address === "failed") breaker.failed();
  if (failure.address === "answered") breaker.succeeded();
}

/** The tries of one call: where and when the next one is made, and whether there is one. */
class Tries<A extends Address> {
  readonly #options: AddressedCall<A, unknown>;
  readonly #tried = new Set<A>();
  readonly #withoutTask = new Set<A>();
  #failures = 0;
  /** Of the try just made; undefined before the first one, and when there is nothing to wait for. */
  #last: { address: A; error: ParleyError } | undefined;
  #patientUntilMs: number | undefined;

  constructor(options: AddressedCall<A, unknown>) {
    this.#options = options;
  }

  /** Waits and gives the next address; throws when there is none, or no time for it. */
  async next(): Promise<A> {
    const { pool } = this.#options;
    let address = pool.pick(this.#tried, this.#withoutTask);
    // What an address asked for (`Retry-After`) holds for that address, not for the next one.
    if (address && this.#last) {
      await this.#wait(address === this.#last.address ? this.#last.error.retryAfterMs : 0);
    }
    while (!address) {
      if (!this.#isPatient()) throw this.#last?.error ?? allOpen(pool.waitMs(this.#withoutTask));
      await this.#wait(0);
      address = pool.pick(this.#tried, this.#withoutTask);
    }
    this.#tried.add(address);
    return address;
  }

  /** Throws when the failure is the answer. */
  failed(address: A, failure: BackendFailure, durationMs: number): void {
    const { pool, now, aboutTask } = this.#options;
    const { error } = failure;
    this.#last = undefined;
    if (aboutTask && failure.address === "answered" && error.code === "not_found") {
      this.#withoutTask.add(address);
      if (this.#withoutTask.size === pool.size) throw error;
      return;
    }
    this.#failures += 1;
    if (failure.address === "broken" && durationMs >= UNDER_WAY_MS) {
      this.#patientUntilMs ??= now() + TAKEOVER_MS;
    }
    const mayRetry = failure.address === "broken" || failure.address === "failed";
    if (!mayRetry || (this.#failures >= ATTEMPTS_MAX && !this.#isPatient())) throw error;
    this.#last = { address, error };
  }

  #isPatient(): boolean {
    return this.#patientUntilMs !== undefined && this.#options.now() < this.#patientUntilMs;
  }

  async #wait(minimumMs: number | undefined): Promise<void> {
    const { call, random } = this.#options;
    const waitMs = fullJitterMs(this.#failures, BACKOFF, random, minimumMs);
    if (this.#last && waitMs >= call.deadline.remainingMs()) throw this.#last.error;
    await sleep(waitMs, call.signal);
  }
}

function allOpen(waitMs: number): ParleyError {
  return new ParleyError("unavailable", "no agent service can be reached; try again in a moment", {
    reason: "all-backends-down",
    retryable: true,
    retryAfterMs: waitMs,
  });
}
