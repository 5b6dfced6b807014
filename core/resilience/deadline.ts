/** One budget of time for a request, shared by all its attempts and handed on over every hop. */
import { ParleyError } from "../errors/parley-error.ts";

/** Milliseconds since some fixed moment; monotonic where the platform offers it. */
export type Clock = () => number;

/** A moment after which nobody waits any more. */
export class Deadline {
  readonly #expiresAtMs: number;
  readonly #now: Clock;

  private constructor(expiresAtMs: number, now: Clock) {
    this.#expiresAtMs = expiresAtMs;
    this.#now = now;
  }

  /** A deadline `budgetMs` from now. */
  static after(budgetMs: number, now: Clock): Deadline {
    return new Deadline(now() + budgetMs, now);
  }

  /** What is left, milliseconds; never negative. */
  remainingMs(): number {
    return Math.max(0, this.#expiresAtMs - this.#now());
  }

  /** What is left; throws `deadline_exceeded` when nothing is. */
  remainingMsOrThrow(): number {
    const remainingMs = this.remainingMs();
    if (remainingMs <= 0) throw deadlineExceeded();
    return remainingMs;
  }
}

/** The error for a request whose time is up. */
export function deadlineExceeded(cause?: unknown): ParleyError {
  return new ParleyError("deadline_exceeded", "the answer did not come within the request's time limit", {
    retryable: false,
    ...(cause === undefined ? {} : { cause }),
  });
}
