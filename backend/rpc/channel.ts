/** A bounded queue between one or more writers and one reader: merges several streams into one. */

/** Passes values on in the order they were sent. */
export class Channel<T> {
  readonly #capacity: number;
  readonly #values: T[] = [];
  readonly #writers: (() => void)[] = [];
  #reader: (() => void) | undefined;
  #closed = false;

  /** @param capacity values that may wait before `send` does */
  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  /** Resolves once there was room; false when the channel has been closed and the value was dropped. */
  async send(value: T): Promise<boolean> {
    while (!this.#closed && this.#values.length >= this.#capacity) {
      await new Promise<void>((resolve) => this.#writers.push(resolve));
    }
    if (this.#closed) return false;
    this.#values.push(value);
    this.#wakeReader();
    return true;
  }

  /** Nothing more will come; the reader still gets what waits. Writers that wait are let go. */
  close(): void {
    this.#closed = true;
    this.#wakeReader();
    for (const wake of this.#writers.splice(0)) wake();
  }

  /** The values, in order, until the channel is closed and empty. For one reader. */
  async *receive(): AsyncGenerator<T, void, undefined> {
    while (true) {
      while (this.#values.length > 0) {
        const [value] = this.#values.splice(0, 1) as [T];
        this.#writers.shift()?.();
        yield value;
      }
      if (this.#closed) return;
      await new Promise<void>((resolve) => {
        this.#reader = resolve;
      });
    }
  }

  #wakeReader(): void {
    this.#reader?.();
    this.#reader = undefined;
  }
}
