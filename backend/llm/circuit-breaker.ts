/**
 * Leaves a failing model alone for a while, and finds out cheaply when it is back. One for each model at its
 * host, shared by all who ask it. Own code, not cockatiel's: there, callers wait for the probe of a half-open
 * circuit, and how long a circuit stays open cannot follow what the provider asks for.
 */
import type { Clock } from "../../core/resilience/deadline.ts";

/** Failures in a row that open the circuit: two may be one unlucky request and its retry. */
export const FAILURES_IN_A_ROW_MAX = 3;
/** More than half of at least so many calls within the window open it, too, in whatever order they fail. */
const SAMPLE_CALLS_MIN = 20;
const SAMPLE_WINDOW_MS = 30_000;
/** How long it stays open the first time; doubled each time a probe fails. */
const OPEN_MS = 5_000;
/** The first time after a rate limit, which passes sooner than an outage. */
const OPEN_RATE_LIMITED_MS = 1_000;
/** A model that is back is asked again within this time and a request's distance: below 30 s in all. */
export const OPEN_MS_MAX = 20_000;
/** A provider that asks to be left alone for longer is asked after this time: such headers are often wrong. */
export const PAUSE_MS_MAX = 300_000;
/** Least time between two calls for want of any other model, while the circuit is open. */
export const LAST_RESORT_INTERVAL_MS = 1_000;
/** Timers may fire this much early by another clock. */
const TIMER_SLACK_MS = 5;

/** Why a call is not to be made, and after how long one may be. */
export interface Refusal {
  /** `paused`: the provider named a time, after which all may call. `open`: one probe at a time after it. */
  readonly why: "paused" | "open";
  readonly waitMs: number;
}

/** How a call failed, as far as the circuit is concerned. */
export interface CircuitFailure {
  /** What the provider asked for. */
  readonly retryAfterMs?: number | undefined;
  readonly rateLimited?: boolean;
  /** Opens the circuit by itself: the next call would fail the same way. */
  readonly lasting?: boolean;
}

/** Told when the circuit opens (`openMs` is how long) and when it closes. */
export type OnCircuitChange = (change: { state: "open"; openMs: number } | { state: "closed" }) => void;

/** All that a breaker touches. */
export interface CircuitBreakerOptions {
  readonly now: Clock;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  readonly onChange?: OnCircuitChange;
}

/** Leave for one call; ended by exactly one of the last three, later ones are ignored. */
export interface CallPermit {
  /** The model has begun to answer: a probe has found it back. */
  firstToken(): void;
  succeeded(): void;
  failed(failure: CircuitFailure): void;
  /** The call says nothing about the model: it was cut off, or refused for what it asked. */
  released(): void;
}

/**
 * States. `closed`: all may call. `open`: nobody may until `#openUntilMs`, then one probe at a time; the first
 * token of a probe closes it, a failed one opens it for longer. Apart from both, a provider's own word pauses it.
 */
export class CircuitBreaker {
  readonly #options: CircuitBreakerOptions;
  #open = false;
  #openUntilMs = 0;
  #pausedUntilMs = 0;
  #lastCallMs = 0;
  #probe: object | undefined;
  /** Times in a row that it opened without a whole answer in between. */
  #openings = 0;
  #failuresInARow = 0;
  #sample = { sinceMs: 0, calls: 0, failures: 0 };
  /** Counts changes of state; what calls of an older state find out is old news. */
  #era = 0;

  constructor(options: CircuitBreakerOptions) {
    this.#options = options;
  }

  /** Why a call made now would be refused; undefined when it would not. */
  refusal(): Refusal | undefined {
    const now = this.#options.now() + TIMER_SLACK_MS;
    if (now < this.#pausedUntilMs) return { why: "paused", waitMs: this.#pausedUntilMs - now };
    if (!this.#open) return undefined;
    if (now < this.#openUntilMs) return { why: "open", waitMs: this.#openUntilMs - now };
    return this.#probe ? { why: "open", waitMs: 0 } : undefined;
  }

  /** Leave for a call, if one may be made. */
  enter(): CallPermit | undefined {
    return this.refusal() ? undefined : this.#permit();
  }

  /**
   * Leave for a call of who has nobody else to ask: one at a time, and at most one a second, even while the
   * circuit is open. Not while the provider's own time runs.
   */
  enterAsLastResort(): CallPermit | undefined {
    const refusal = this.refusal();
    if (!refusal) return this.#permit();
    const tooSoon = this.#options.now() - this.#lastCallMs < LAST_RESORT_INTERVAL_MS;
    return refusal.why === "paused" || this.#probe || tooSoon ? undefined : this.#permit();
  }

  #permit(): CallPermit {
    const permit = this.#newPermit(this.#era);
    if (this.#open) this.#probe = permit;
    this.#lastCallMs = this.#options.now();
    return permit;
  }

  #newPermit(bornEra: number): CallPermit {
    let era = bornEra;
    let ended = false;
    const end = (judge: () => void) => {
      if (ended) return;
      ended = true;
      if (this.#probe === permit) this.#probe = undefined;
      judge();
    };
    // A call's own probe may have changed the era: that is no old news.
    const isCurrent = () => era === this.#era;
    const permit: CallPermit = {
      firstToken: () => {
        if (this.#probe !== permit || ended) return;
        this.#close();
        // It has not proved itself yet: one failure opens it again.
        this.#failuresInARow = FAILURES_IN_A_ROW_MAX - 1;
        era = this.#era;
      },
      succeeded: () => end(() => isCurrent() && this.#success()),
      failed: (failure) => end(() => this.#failure(failure, isCurrent())),
      released: () => end(() => {}),
    };
    return permit;
  }

  #success(): void {
    if (this.#open) this.#close();
    this.#count(false);
    this.#failuresInARow = 0;
    this.#openings = 0;
  }

  #failure({ retryAfterMs, rateLimited = false, lasting = false }: CircuitFailure, isCurrent: boolean): void {
    if (retryAfterMs !== undefined) {
      const untilMs = this.#options.now() + Math.min(retryAfterMs, PAUSE_MS_MAX);
      this.#pausedUntilMs = Math.max(this.#pausedUntilMs, untilMs);
      // The provider has said when there is room again: that is no outage.
      if (rateLimited) return;
    }
    if (!isCurrent) return;
    this.#count(true);
    this.#failuresInARow += 1;
    const { calls, failures } = this.#sample;
    const mostFail = calls >= SAMPLE_CALLS_MIN && failures * 2 > calls;
    const isProbe = this.#open;
    if (isProbe || lasting || mostFail || this.#failuresInARow >= FAILURES_IN_A_ROW_MAX) {
      this.#openFor(rateLimited ? OPEN_RATE_LIMITED_MS : OPEN_MS);
    }
  }

  #openFor(baseMs: number): void {
    const { now, random, onChange } = this.#options;
    const wholeMs = Math.min(OPEN_MS_MAX, baseMs * 2 ** this.#openings);
    // Less by up to a quarter, so that many backends do not probe together.
    const openMs = wholeMs * (1 - random() / 4);
    this.#openings = Math.min(this.#openings + 1, 16);
    this.#openUntilMs = now() + openMs;
    const wasOpen = this.#open;
    this.#open = true;
    this.#era += 1;
    if (!wasOpen) onChange?.({ state: "open", openMs });
  }

  #close(): void {
    this.#open = false;
    this.#probe = undefined;
    this.#era += 1;
    this.#failuresInARow = 0;
    this.#sample = { sinceMs: this.#options.now(), calls: 0, failures: 0 };
    this.#options.onChange?.({ state: "closed" });
  }

  #count(failed: boolean): void {
    const now = this.#options.now();
    if (now - this.#sample.sinceMs > SAMPLE_WINDOW_MS) this.#sample = { sinceMs: now, calls: 0, failures: 0 };
    this.#sample.calls += 1;
    if (failed) this.#sample.failures += 1;
  }
}
