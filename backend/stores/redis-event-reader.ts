/**
 * Reads, on one connection for the whole process, what other backends write: the events of the tasks that are
 * followed here, and the notices for this backend. A blocking XREAD over all of their streams; when what is to be
 * read changes, a notice to itself ends the wait.
 */
import { ParleyError } from "../../core/errors/parley-error.ts";
import { sleep } from "../../core/resilience/full-jitter.ts";
import type { LedgerNotice } from "../tasks/task-ledger.ts";
import type { RedisConnection } from "./redis-connection.ts";

/** The longest wait of one XREAD: also how long it takes at most to notice that Redis stands still. */
export const READ_BLOCK_MS = 1_000;
/** How long followers wait for Redis to come back; positions are kept, so a short failure is only a pause. */
const PATIENCE_MS = 3_000;
const RETRY_AFTER_MS = 1_000;
/** A read that fails on a connection that works must not be tried in a circle. */
const FAILED_READ_PAUSE_MS = 100;
/** Batches of one stream that one read takes; the rest comes with the next. */
const BATCHES_READ_MAX = 64;

/** Hears the batches of one stream. */
export interface StreamListener {
  onBatch(bytes: Buffer): void;
  onBroken(error: unknown): void;
}

/** How it reads. */
export interface RedisEventReaderOptions {
  /** Its own, whose commands may block for {@link READ_BLOCK_MS}. */
  readonly connection: RedisConnection;
  readonly inboxKey: string;
  /** Writes a notice to the own inbox. */
  readonly wake: () => void;
  readonly onNotice: (notice: LedgerNotice) => void;
}

interface Followed {
  position: string;
  readonly listener: StreamListener;
}

type Entry = [id: Buffer, fields: Buffer[]];
/** A list of pairs in RESP2; in RESP3 a map, which arrives as keys and values in turn. */
type StreamReply = [key: Buffer, entries: Entry[]][] | (Buffer | Entry[])[] | null;

/** See above. */
export class RedisEventReader {
  readonly #options: RedisEventReaderOptions;
  readonly #followed = new Map<string, Set<Followed>>();
  readonly #stop = new AbortController();
  #inboxPosition = "0-0";
  #patience: NodeJS.Timeout | undefined;

  constructor(options: RedisEventReaderOptions) {
    this.#options = options;
    options.connection.listen((event) => {
      clearTimeout(this.#patience);
      if (event.state === "ready") return;
      this.#patience = setTimeout(() => this.#breakAll(unavailable(event.error)), PATIENCE_MS);
    });
    this.#read().catch(() => {});
  }

  /** Tells the listener of a stream's batches from the first one on; returns what ends that. */
  follow(key: string, listener: StreamListener): () => void {
    const followed = { position: "0-0", listener };
    const all = this.#followed.get(key) ?? new Set();
    this.#followed.set(key, all.add(followed));
    this.#options.wake();
    return () => {
      all.delete(followed);
      if (all.size === 0 && this.#followed.get(key) === all) this.#followed.delete(key);
    };
  }

  /** Tells every listener that no more will come. */
  #breakAll(error: unknown): void {
    const broken = [...this.#followed.values()].flatMap((all) => [...all]);
    this.#followed.clear();
    for (const { listener } of broken) listener.onBroken(error);
  }

  /** Ends reading; the connection is its owner's to close. */
  close(): void {
    clearTimeout(this.#patience);
    this.#stop.abort();
  }

  async #read(): Promise<void> {
    const { connection } = this.#options;
    while (!this.#stop.signal.aborted) {
      await connection.ready(this.#stop.signal);
      try {
        await this.#readOnce();
      } catch (error) {
        // A connection that fails is waited for; whatever else it is will not go away.
        if (!(error instanceof ParleyError && error.code === "unavailable")) this.#breakAll(error);
        await sleep(FAILED_READ_PAUSE_MS, this.#stop.signal);
      }
    }
  }

  async #readOnce(): Promise<void> {
    const { connection, inboxKey } = this.#options;
    const keys = [inboxKey, ...this.#followed.keys()];
    const positions = [this.#inboxPosition, ...[...this.#followed.values()].map(earliest)];
    const reply = (await connection.run((redis) =>
      redis.callBuffer(
        "XREAD",
        "COUNT",
        BATCHES_READ_MAX,
        "BLOCK",
        READ_BLOCK_MS,
        "STREAMS",
        ...keys,
        ...positions,
      ),
    )) as StreamReply;
    const flat: unknown[] = (reply ?? []).flatMap((item): unknown[] =>
      item[0] instanceof Buffer ? [...item] : [item],
    );
    for (let index = 0; index < flat.length; index += 2) {
      const key = String(flat[index]);
      for (const [id, fields] of flat[index + 1] as Entry[]) this.#take(key, id.toString(), fields);
    }
  }

  #take(key: string, id: string, fields: readonly Buffer[]): void {
    if (key === this.#options.inboxKey) {
      this.#inboxPosition = id;
      const [kind, taskId] = [fields[1]?.toString(), fields[3]?.toString() ?? ""];
      if (kind === "turn" || kind === "follow" || kind === "cancel") this.#options.onNotice({ kind, taskId });
      return;
    }
    const bytes = fields[1];
    for (const followed of this.#followed.get(key) ?? []) {
      if (!bytes || !isAfter(id, followed.position)) continue;
      followed.position = id;
      followed.listener.onBatch(bytes);
    }
  }
}

function unavailable(cause: unknown): ParleyError {
  return new ParleyError(
    "unavailable",
    "the task runs on another backend, which cannot be asked at the moment",
    {
      retryable: true,
      retryAfterMs: RETRY_AFTER_MS,
      cause,
    },
  );
}

/** Where the listener that is furthest behind stands. */
function earliest(all: Set<Followed>): string {
  let position: string | undefined;
  for (const followed of all) {
    if (position === undefined || isAfter(position, followed.position)) position = followed.position;
  }
  return position ?? "0-0";
}

/** Ids are `<sequence>-0`. */
function isAfter(id: string, other: string): boolean {
  return Number.parseInt(id, 10) > Number.parseInt(other, 10);
}
