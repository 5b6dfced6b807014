/**
 * When a request ends: with its answer, or, where the answer is a stream, with the stream. Whoever still works
 * on the answer holds the lifetime; what must happen at the end (the log line, clearing timers) waits for it.
 */

/** Counts holders; ends once, when the last one lets go or when the client has gone. */
export class RequestLifetime {
  readonly #listeners: (() => void)[] = [];
  #holderCount = 0;

  /** Keeps the request going until the returned function is called; calling it again does nothing. */
  hold(): () => void {
    this.#holderCount += 1;
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      this.#holderCount -= 1;
      if (this.#holderCount === 0) this.end();
    };
  }

  /** Ends it at once, whoever holds it. The second end, by the last holder, is none. */
  end(): void {
    for (const listener of this.#listeners.splice(0)) listener();
  }

  /** Runs the listener at the end, in the order in which listeners were added. */
  onEnd(listener: () => void): void {
    this.#listeners.push(listener);
  }
}
