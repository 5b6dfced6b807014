/** One turn at a time per context, in arrival order; contexts do not wait for each other. */

/** Runs jobs one after another per key. */
export class ContextQueue {
  readonly #tails = new Map<string, Promise<void>>();

  /** Runs `job` when the jobs given before it under the same key have ended, however they ended. */
  enqueue(key: string, job: () => Promise<void>): Promise<void> {
    const run = (this.#tails.get(key) ?? Promise.resolve()).then(job);
    const tail = run
      .catch(() => {})
      .then(() => {
        if (this.#tails.get(key) === tail) this.#tails.delete(key);
      });
    this.#tails.set(key, tail);
    return run;
  }

  /** Keys with a job waiting or running. */
  get size(): number {
    return this.#tails.size;
  }
}
