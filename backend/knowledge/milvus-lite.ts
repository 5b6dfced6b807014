/**
 * What Milvus Lite (one Python process, for development and tests) needs, and a full Milvus must not get. Each of its
 * searches reads the rows that are not flushed one by one, and makes their index of words anew: 2,000 of them cost
 * 700 ms, against 20 ms when they are flushed. So they are flushed early. While it flushes, what is read just then may
 * lack rows, and what is written may be lost; so nothing else is asked meanwhile.
 */
import { abortable } from "../../core/directory/abortable.ts";
import { collectionName } from "./milvus-collection.ts";
import { type MilvusConnection, WORK_TIMEOUT_MS } from "./milvus-connection.ts";

/** Begins the version that it gives as its own. */
const LITE_VERSION_PREFIX = "milvus_lite";
/** Rows that are not flushed cost a search less than 200 ms up to here; flushing them takes as long, once. */
const UNFLUSHED_ROWS_MAX = 512;
/** A search flushes what was written longer ago than this: no more of it is about to come. */
const FLUSH_AFTER_MS = 1_000;
/** 4,096 rows: should a search come before, it indexes their words in less than a second. */
const FLUSHES_PER_WORD_INDEX = 8;

/** What the flushes work with. */
export interface MilvusLiteOptions {
  /** Milliseconds that only grow. */
  readonly now: () => number;
  readonly connection: MilvusConnection;
}

/** Decides when to flush, and keeps all else away meanwhile. Does nothing until {@link noteLoaded}. */
export class MilvusLite {
  readonly #options: MilvusLiteOptions;
  /** Rows that were written since the last flush, by dimension. */
  readonly #unflushed = new Map<number, { rows: number; atMs: number }>();
  readonly #underWay = new Set<Promise<unknown>>();
  #isLite = false;
  #flushes = 0;
  #isIndexingWords = false;
  #flushing: Promise<void> | undefined;

  constructor(options: MilvusLiteOptions) {
    this.#options = options;
  }

  /** Makes a call when nothing is being flushed. */
  async beside<T>(make: () => Promise<T>, signal: AbortSignal): Promise<T> {
    while (this.#flushing) await abortable(this.#flushing, signal);
    const call = make();
    this.#underWay.add(call);
    try {
      return await call;
    } finally {
      this.#underWay.delete(call);
    }
  }

  /** What the server says that it is. There may be rows that an earlier process wrote and nobody has flushed. */
  noteLoaded(dimension: number, version: string): void {
    this.#isLite = version.startsWith(LITE_VERSION_PREFIX);
    if (!this.#isLite) return;
    this.#unflushed.set(dimension, { rows: UNFLUSHED_ROWS_MAX, atMs: this.#options.now() });
  }

  /** Rows have been written or deleted. */
  noteWritten(dimension: number, rows: number): void {
    if (!this.#isLite || rows === 0) return;
    const before = this.#unflushed.get(dimension)?.rows ?? 0;
    this.#unflushed.set(dimension, { rows: before + rows, atMs: this.#options.now() });
  }

  /** To be called after writing: flushes what has become too much. */
  async flushMany(dimension: number): Promise<void> {
    if ((this.#unflushed.get(dimension)?.rows ?? 0) >= UNFLUSHED_ROWS_MAX) await this.#flush(dimension);
  }

  /** To be called before searching: flushes what has been lying about. */
  async flushOld(dimension: number): Promise<void> {
    const unflushed = this.#unflushed.get(dimension);
    if (!unflushed) return;
    const isOld = this.#options.now() - unflushed.atMs >= FLUSH_AFTER_MS;
    if (isOld || unflushed.rows >= UNFLUSHED_ROWS_MAX) await this.#flush(dimension);
  }

  /** One at a time. A failure leaves the rows where they are slow, and found; it is tried again with the next. */
  async #flush(dimension: number): Promise<void> {
    while (this.#flushing) await this.#flushing;
    const unflushed = this.#unflushed.get(dimension);
    if (!unflushed) return;
    this.#unflushed.delete(dimension);
    const flush = async () => {
      await Promise.allSettled(this.#underWay);
      await this.#options.connection.call(
        (client, timeout) => client.flush({ collection_names: [collectionName(dimension)], timeout }),
        AbortSignal.timeout(WORK_TIMEOUT_MS),
        WORK_TIMEOUT_MS,
      );
      if (this.#flushes++ % FLUSHES_PER_WORD_INDEX === 0) void this.#indexWords(dimension);
    };
    this.#flushing = flush()
      .catch(() => this.noteWritten(dimension, unflushed.rows))
      .finally(() => {
        this.#flushing = undefined;
      });
    await this.#flushing;
  }

  /** It indexes the words of flushed rows when it first searches them, 5,000 rows a second. Nobody waits for this one. */
  async #indexWords(dimension: number): Promise<void> {
    if (this.#isIndexingWords) return;
    this.#isIndexingWords = true;
    const search = { data: ["none"], anns_field: "sparse", metric_type: "BM25", limit: 1 };
    await this.#options.connection
      .call(
        (client, timeout) =>
          client.search({ ...search, collection_name: collectionName(dimension), timeout }),
        AbortSignal.timeout(WORK_TIMEOUT_MS),
        WORK_TIMEOUT_MS,
      )
      .catch(() => undefined);
    this.#isIndexingWords = false;
  }
}
