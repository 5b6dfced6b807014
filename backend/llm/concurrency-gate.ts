/**
 * Limits how many calls a host gets at once, and how many wait for their turn, in order of arrival. For servers
 * that queue without telling, such as Ollama: what waits here can still go to another model.
 */

/** Gives the place back; safe to call more than once. */
export type LeaveGate = () => void;

/** How many. */
export interface ConcurrencyGateOptions {
  readonly activeMax: number;
  /** More than these are turned away at once. */
  readonly waitingMax: number;
}

/** The gate of one host. */
export class ConcurrencyGate {
  readonly #options: ConcurrencyGateOptions;
  /** In order of arrival. */
  readonly #waiting = new Set<() => void>();
  #active = 0;

  constructor(options: ConcurrencyGateOptions) {
    this.#options = options;
  }

  /** Calls under way. */
  get active(): number {
    return this.#active;
  }

  /** Calls waiting. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** A place, if one is free and nobody waits for it. */
  tryEnter(): LeaveGate | undefined {
    return this.#active < this.#options.activeMax ? this.#take() : undefined;
  }

  /**
   * A place, after at most `waitMsMax`; undefined when too many wait already or the time is up. Rejects with the
   * reason of `signal` when it aborts.
   */
  enter(waitMsMax: number, signal: AbortSignal): Promise<LeaveGate | undefined> {
    if (signal.aborted) return Promise.reject(signal.reason);
    const place = this.tryEnter();
    if (place || this.#waiting.size >= this.#options.waitingMax) return Promise.resolve(place);
    return new Promise((resolve, reject) => {
      const stopWaiting = () => {
        clearTimeout(timer);
        signal.removeEventListener("abort", onAbort);
        this.#waiting.delete(onTurn);
      };
      const onTurn = () => {
        stopWaiting();
        resolve(this.#take());
      };
      const onAbort = () => {
        stopWaiting();
        reject(signal.reason);
      };
      const timer = setTimeout(() => {
        stopWaiting();
        resolve(undefined);
      }, waitMsMax);
      signal.addEventListener("abort", onAbort, { once: true });
      this.#waiting.add(onTurn);
    });
  }

  #take(): LeaveGate {
    this.#active += 1;
    let left = false;
    return () => {
      if (left) return;
      left = true;
      this.#active -= 1;
      const [next] = this.#waiting;
      next?.();
    };
  }
}
