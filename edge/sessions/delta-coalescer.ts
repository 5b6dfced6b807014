/**
 * Puts deltas of one turn that come close together into one frame. The first goes out at once, and so does one that
 * comes after a pause; of the others, none waits longer than the time between two frames. A backend that was asked to
 * has put them together already, and is waited for no longer.
 */
import { deltaTextsOf } from "../../core/messages/joined-deltas.ts";
import type { Clock } from "../../core/resilience/deadline.ts";
import type { A2AMessage } from "../../proto/gen/parley/v1/agent_service_pb.js";
import { DELTA_FRAME_CHARACTERS_MAX, DELTAS_PER_FRAME_MAX } from "./session-limits.ts";

/**
 * A frame that is due so soon goes out with what has just come: backends that put deltas together do so in the same
 * interval, and come a little early as often as a little late.
 */
const DUE_EARLY_MS = 10;

/** What a coalescer touches. */
export interface DeltaCoalescerOptions {
  readonly coalesceMs: number;
  readonly now: Clock;
  /** Takes events in order: either deltas, one or several, or one event of another kind. */
  emit(events: readonly A2AMessage[]): void;
}

/** See above. While nothing waits, it has no timer. */
export class DeltaCoalescer {
  readonly #options: DeltaCoalescerOptions;
  #waiting: A2AMessage[] = [];
  #waitingDeltas = 0;
  #waitingCharacters = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #emittedAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: DeltaCoalescerOptions) {
    this.#options = options;
  }

  /** Takes the turn's next event. */
  push(event: A2AMessage): void {
    const texts = deltaTextsOf(event);
    if (!texts) {
      this.flush();
      this.#options.emit([event]);
      return;
    }
    this.#waiting.push(event);
    this.#waitingDeltas += texts.length;
    for (const { length } of texts) this.#waitingCharacters += length;
    const waitMs = this.#emittedAtMs + this.#options.coalesceMs - this.#options.now();
    if (waitMs <= DUE_EARLY_MS || this.#isFull()) this.flush();
    else this.#timer ??= setTimeout(() => this.flush(), waitMs);
  }

  /** Sends what waits. */
  flush(): void {
    const events = this.#waiting;
    this.stop();
    if (events.length === 0) return;
    this.#emittedAtMs = this.#options.now();
    this.#options.emit(events);
  }

  /** Forgets what waits. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#waiting = [];
    this.#waitingDeltas = 0;
    this.#waitingCharacters = 0;
  }

  #isFull(): boolean {
    return (
      this.#waitingDeltas >= DELTAS_PER_FRAME_MAX || this.#waitingCharacters >= DELTA_FRAME_CHARACTERS_MAX
    );
  }
}
