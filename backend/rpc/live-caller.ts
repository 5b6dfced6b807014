/**
 * The caller of a call that stays open: its credential is verified again and again, so that a stream does not outlive
 * a revocation or an expiry, and takes changed limits and scopes anew. Counting is not its business.
 */
import { ParleyError } from "../../core/errors/parley-error.ts";
import type { Clock } from "../../core/resilience/deadline.ts";
import type { VerifiedCaller } from "./caller.ts";

/**
 * A revoked key's stream ends within 52 s: the directory's copy of a key is fresh for 30 s, the next check may be
 * answered from it once more while another caller asks the store, which takes 2 s at most, and the one after is not.
 */
const VERIFY_AGAIN_MS = 10_000;

/** See above. Close it when the call has ended. */
export class LiveCaller {
  readonly #now: Clock;
  readonly #verifyAgainMs: number;
  readonly #refused = new AbortController();
  readonly #timer: NodeJS.Timeout;
  #caller: VerifiedCaller;
  #verifiedAtMs: number;

  /**
   * @param caller as the gate has just verified it
   * @param now monotonic, milliseconds
   * @param verifyAgainMs after which the credential is verified again
   */
  constructor(caller: VerifiedCaller, now: Clock, verifyAgainMs = VERIFY_AGAIN_MS) {
    this.#caller = caller;
    this.#now = now;
    this.#verifyAgainMs = verifyAgainMs;
    this.#verifiedAtMs = now();
    // Nobody may be asking: the caller may only listen. What fails for another reason is tried again.
    this.#timer = setInterval(() => void this.#verify().catch(() => undefined), verifyAgainMs);
    this.#timer.unref();
  }

  /** Aborts, with an `unauthenticated` ParleyError as its reason, when the credential is found to be no longer good. */
  get refused(): AbortSignal {
    return this.#refused.signal;
  }

  /**
   * The caller, with the scopes and limits of 10 s ago at most, as the directory had them.
   *
   * @throws ParleyError `unauthenticated`; `unavailable` when the credential cannot be looked up
   */
  async current(): Promise<VerifiedCaller> {
    this.refused.throwIfAborted();
    if (this.#now() - this.#verifiedAtMs >= this.#verifyAgainMs) await this.#verify();
    return this.#caller;
  }

  close(): void {
    clearInterval(this.#timer);
  }

  async #verify(): Promise<void> {
    const { verifyAgain } = this.#caller;
    if (!verifyAgain) return;
    try {
      const { principal, limits } = await verifyAgain();
      this.#caller = { ...this.#caller, principal, limits };
      this.#verifiedAtMs = this.#now();
    } catch (error) {
      if (error instanceof ParleyError && error.code === "unauthenticated") this.#refused.abort(error);
      throw error;
    }
  }
}
