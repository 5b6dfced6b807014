/**
 * The events of one task, in memory: appended in order, numbered from 1 without gaps, followed by any number of
 * readers, all of whom see the same objects. What the events mean is not its business.
 */
import type { A2AMessage } from "../../proto/gen/parley/v1/agent_service_pb.js";

/** Appends and follows the events of one task. */
export class EventLog {
  readonly #events: A2AMessage[] = [];
  readonly #waiting = new Set<() => void>();
  #ended = false;

  /** Position of the newest event; 0 when there is none. */
  get sequence(): number {
    return this.#events.length;
  }

  /** Whether the last event has been appended. */
  get ended(): boolean {
    return this.#ended;
  }

  /** The last event, once the log has ended. */
  get lastEvent(): A2AMessage | undefined {
    return this.#ended ? this.#events.at(-1) : undefined;
  }

  /** Numbers the event and shows it to every follower; nothing can be appended after the `last`. */
  append(event: A2AMessage, last: boolean): void {
    if (this.#ended) throw new Error("the event log of a task was appended to after its end");
    event.sequence = this.#events.length + 1;
    this.#events.push(event);
    this.#ended = last;
    for (const wake of this.#waiting) wake();
    this.#waiting.clear();
  }

  /**
   * Yields the events after a sequence, then live ones, and returns after the last. Throws the signal's reason
   * when it aborts; leaving early stops nothing but this reader.
   */
  async *follow(afterSequence: number, signal: AbortSignal): AsyncGenerator<A2AMessage, void, undefined> {
    let position = afterSequence;
    while (true) {
      for (let event = this.#events[position]; event; event = this.#events[position]) {
        signal.throwIfAborted();
        position += 1;
        yield event;
      }
      if (this.#ended) return;
      await this.#nextAppend(signal);
    }
  }

  #nextAppend(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason);
      const onAbort = () => {
        this.#waiting.delete(wake);
        reject(signal.reason);
      };
      const wake = () => {
        signal.removeEventListener("abort", onAbort);
        resolve();
      };
      signal.addEventListener("abort", onAbort, { once: true });
      this.#waiting.add(wake);
    });
  }
}
