/** How many frames a connection may send: a token bucket in memory. What an eviction forgets only ever admits more. */
import type { Clock } from "../../core/resilience/deadline.ts";
import { FRAMES_BURST_MAX, FRAMES_PER_SECOND_MAX, FRAMES_REFUSED_MAX } from "./session-limits.ts";

const SAY_SO_EVERY_MS = 1_000;

/** What to do with a frame: look at it, say that it was too much, say nothing, or close the connection. */
export type FrameVerdict = "admit" | "refuse" | "ignore" | "close";

/** The rate of one connection. */
export class FrameRate {
  readonly #now: Clock;
  #tokens = FRAMES_BURST_MAX;
  #refilledAtMs: number;
  /** Since the connection last kept to the rate for a while. */
  #refusedCount = 0;
  #saidAtMs = Number.NEGATIVE_INFINITY;

  constructor(now: Clock) {
    this.#now = now;
    this.#refilledAtMs = now();
  }

  /** Counts one frame. */
  take(): FrameVerdict {
    const nowMs = this.#now();
    const refill = ((nowMs - this.#refilledAtMs) / 1_000) * FRAMES_PER_SECOND_MAX;
    this.#tokens = Math.min(FRAMES_BURST_MAX, this.#tokens + refill);
    this.#refilledAtMs = nowMs;
    if (this.#tokens >= FRAMES_BURST_MAX / 2) this.#refusedCount = 0;
    if (this.#tokens >= 1) {
      this.#tokens -= 1;
      return "admit";
    }
    this.#refusedCount += 1;
    if (this.#refusedCount > FRAMES_REFUSED_MAX) return "close";
    if (nowMs - this.#saidAtMs < SAY_SO_EVERY_MS) return "ignore";
    this.#saidAtMs = nowMs;
    return "refuse";
  }
}
