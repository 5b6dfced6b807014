/**
 * The events of one task, in memory: appended in order, numbered from 1 without gaps, followed by any number of
 * readers, all of whom see the same. Events that are not there any more can be stood in for. What the events mean is
 * not its business.
 */
import { toBinary } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import type { A2AMessage } from "../../proto/gen/parley/v1/agent_service_pb.js";

/** Stands in for the first `count` events of a task, whose own are lost; makes the same event each time. */
export interface LostEvents {
  readonly count: number;
  make(sequence: number): A2AMessage;
}

/** What a wait for the next event may be told. */
export interface AppendWait {
  readonly limitMs?: number;
  /** Which events it is for; default all of them. */
  wanted?(event: A2AMessage): boolean;
}

interface Waiter {
  wake(): void;
  wanted(event: A2AMessage): boolean;
}

/** Appends and follows the events of one task. */
export class EventLog {
  readonly #lost: LostEvents | undefined;
  readonly #events: A2AMessage[] = [];
  readonly #waiting = new Set<Waiter>();
  #sizeBytes = 0;
  #ended = false;
  #broken: { readonly error: unknown } | undefined;

  constructor(lost?: LostEvents) {
    this.#lost = lost;
  }

  /** Position of the newest event; 0 when there is none. */
  get sequence(): number {
    return (this.#lost?.count ?? 0) + this.#events.length;
  }

  /** About what the events take in memory. */
  get sizeBytes(): number {
    return this.#sizeBytes;
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
    event.sequence = this.sequence + 1;
    this.#events.push(event);
    this.#sizeBytes += sizeBytesOf(event);
    this.#ended = last;
    this.#wakeAll(event);
  }

  /** The events after a sequence, as far as they are there. */
  after(sequence: number): A2AMessage[] {
    return this.#events.slice(Math.max(0, sequence - (this.#lost?.count ?? 0)));
  }

  /** Ends all following with an error: no more events will come here, and the last one has not come. */
  break(error: unknown): void {
    if (this.#ended) return;
    this.#broken = { error };
    this.#wakeAll();
  }

  /** Whether {@link break} has ended it. */
  get isBroken(): boolean {
    return this.#broken !== undefined;
  }

  /**
   * Yields the events after a sequence, then live ones, and returns after the last. Throws the signal's reason
   * when it aborts, and the error of a log that is broken; leaving early stops nothing but this reader.
   */
  async *follow(afterSequence: number, signal: AbortSignal): AsyncGenerator<A2AMessage, void, undefined> {
    let position = afterSequence;
    while (true) {
      for (let event = this.at(position); event; event = this.at(position)) {
        signal.throwIfAborted();
        position += 1;
        yield event;
      }
      if (this.#ended) return;
      if (this.#broken) throw this.#broken.error;
      await this.nextAppend(signal);
    }
  }

  /** The event after a sequence, when it is there. */
  at(sequence: number): A2AMessage | undefined {
    const lost = this.#lost?.count ?? 0;
    return sequence < lost ? this.#lost?.make(sequence + 1) : this.#events[sequence - lost];
  }

  /** @param event undefined when the log is broken */
  #wakeAll(event?: A2AMessage): void {
    for (const { wake, wanted } of this.#waiting) if (!event || this.#ended || wanted(event)) wake();
  }

  /**
   * Resolves when an event that is wanted has been appended, the log has ended or is broken, or so many milliseconds
   * have passed. Rejects with the signal's reason.
   */
  nextAppend(signal: AbortSignal, { limitMs, wanted = () => true }: AppendWait = {}): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason);
      const stop = () => {
        clearTimeout(timer);
        signal.removeEventListener("abort", onAbort);
        this.#waiting.delete(waiter);
      };
      const onAbort = () => {
        stop();
        reject(signal.reason);
      };
      const wake = () => {
        stop();
        resolve();
      };
      const timer = limitMs === undefined ? undefined : setTimeout(wake, limitMs);
      signal.addEventListener("abort", onAbort, { once: true });
      const waiter = { wake, wanted };
      this.#waiting.add(waiter);
    });
  }
}

/** An event's objects and ids, estimated generously. */
const EVENT_OVERHEAD_BYTES = 1_000;

/** About what an event, or a message, takes in memory: two bytes a character, and what it is made of. */
export function sizeBytesOf({ text, body }: A2AMessage): number {
  let sizeBytes = EVENT_OVERHEAD_BYTES + 2 * text.length;
  if (body.case === "delta") sizeBytes += 2 * body.value.length;
  if (body.case === "content") {
    for (const { content } of body.value.parts) {
      if (content.case === "text" || content.case === "url") sizeBytes += 2 * content.value.length;
      if (content.case === "raw") sizeBytes += content.value.byteLength;
      if (content.case === "data")
        sizeBytes += DATA_BYTES_PER_WIRE_BYTE * toBinary(ValueSchema, content.value).byteLength;
    }
  }
  return sizeBytes;
}

/** A list of numbers is 13 bytes a number on the wire and an object of some 150 in memory. */
const DATA_BYTES_PER_WIRE_BYTE = 12;
