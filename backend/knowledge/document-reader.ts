/**
 * Reads documents in a thread of its own, so that none can hold up or bring down the process: a hostile one costs its
 * time limit or its memory limit, then its thread is ended and the next document gets a new one. One at a time, with
 * a bounded queue before it.
 */
import { Worker } from "node:worker_threads";
import { ParleyError } from "../../core/errors/parley-error.ts";
import { documentError, READ_MEMORY_BYTES_MAX, READ_TIMEOUT_MS } from "./document-limits.ts";
import type { StoredText, ThreadReply, ThreadRequest } from "./document-thread.ts";
import type { DocumentSource, ReadDocument } from "./read-document.ts";
import type { SplitDocument } from "./split-document.ts";

/** Documents that wait, each with its bytes in memory; whoever comes after them is told to come back. */
const WAITING_MAX = 16;
/** A document that waits is read in about this time, as most are small. */
const RETRY_AFTER_MS = 2_000;
/** Unpacking fills some 50 MB in this time. */
const WATCH_INTERVAL_MS = 50;
/** A thread without work for this long gives its memory back; starting one costs some 100 ms. */
const IDLE_MS = 30_000;

/** Limits of one document; tests set their own. */
export interface DocumentReaderOptions {
  readonly timeoutMs?: number;
  readonly memoryBytesMax?: number;
}

/** Reads documents. Each call may throw what `readDocument` does, and `resource_exhausted` when too many wait. */
export class DocumentReader {
  readonly #timeoutMs: number;
  readonly #memoryBytesMax: number;
  #thread: Worker | undefined;
  #idle: NodeJS.Timeout | undefined;
  #last: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  constructor({
    timeoutMs = READ_TIMEOUT_MS,
    memoryBytesMax = READ_MEMORY_BYTES_MAX,
  }: DocumentReaderOptions = {}) {
    this.#timeoutMs = timeoutMs;
    this.#memoryBytesMax = memoryBytesMax;
  }

  /** The text and chunks of a document as it was sent. */
  read(source: DocumentSource, signal: AbortSignal): Promise<ReadDocument> {
    return this.#enqueue({ read: source }, signal);
  }

  /** The chunks of a text that was read before. */
  split(stored: StoredText, signal: AbortSignal): Promise<SplitDocument> {
    return this.#enqueue({ split: stored }, signal);
  }

  /** Ends the thread; a document that is being read fails. */
  async close(): Promise<void> {
    clearTimeout(this.#idle);
    await this.#endThread();
  }

  async #enqueue(request: ThreadRequest, signal: AbortSignal): Promise<ReadDocument> {
    if (this.#waiting >= WAITING_MAX) throw tooManyWaiting();
    this.#waiting++;
    const turn = this.#last.then(() => {
      this.#waiting--;
      signal.throwIfAborted();
      return this.#ask(request, signal);
    });
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  async #ask(request: ThreadRequest, signal: AbortSignal): Promise<ReadDocument> {
    clearTimeout(this.#idle);
    this.#thread ??= this.#startThread();
    const thread = this.#thread;
    thread.ref();
    try {
      const reply = await this.#replyOf(thread, request, signal);
      if ("document" in reply) return reply.document;
      const { code, reason, message, cause } = reply.error;
      throw new ParleyError(code, message, { cause, ...(reason !== undefined && { reason }) });
    } finally {
      if (this.#thread === thread) {
        thread.unref();
        this.#idle = setTimeout(() => void this.#endThread(), IDLE_MS).unref();
      }
    }
  }

  /** The reply; whatever else ends the wait ends the thread too. */
  async #replyOf(thread: Worker, request: ThreadRequest, signal: AbortSignal): Promise<ThreadReply> {
    const { promise, resolve, reject } = Promise.withResolvers<ThreadReply>();
    const onError = (error: Error & { code?: string }) =>
      reject(error.code === "ERR_WORKER_OUT_OF_MEMORY" ? tooMuchMemory(this.#memoryBytesMax, error) : error);
    const onExit = () =>
      reject(new ParleyError("unavailable", "the document's reading was ended", { retryable: true }));
    const onAbort = () => reject(signal.reason);
    thread.once("message", resolve).once("error", onError).once("exit", onExit);
    signal.addEventListener("abort", onAbort, { once: true });
    const timer = setTimeout(() => reject(tooMuchTime(this.#timeoutMs)), this.#timeoutMs);
    const watch = setInterval(() => void this.#watchMemory(thread, reject), WATCH_INTERVAL_MS);
    try {
      thread.postMessage(request);
      return await promise;
    } catch (error) {
      await this.#endThread();
      throw error;
    } finally {
      clearTimeout(timer);
      clearInterval(watch);
      signal.removeEventListener("abort", onAbort);
      thread.off("message", resolve).off("error", onError).off("exit", onExit);
    }
  }

  /** V8's own limits do not count what is unpacked into buffers. */
  async #watchMemory(thread: Worker, reject: (error: Error) => void): Promise<void> {
    const statistics = await thread.getHeapStatistics().catch(() => undefined);
    if (!statistics) return;
    const bytes = statistics.external_memory + statistics.used_heap_size;
    if (bytes > this.#memoryBytesMax) reject(tooMuchMemory(this.#memoryBytesMax));
  }

  #startThread(): Worker {
    const thread = new Worker(new URL("./document-thread.ts", import.meta.url), {
      resourceLimits: { maxOldGenerationSizeMb: Math.ceil(this.#memoryBytesMax / 2 ** 20) },
      // What a parser prints about a broken document is nobody's concern.
      stdout: true,
      stderr: true,
    });
    // Between documents; while one is read, it is told as well.
    thread.on("error", () => undefined);
    thread.on("exit", () => {
      if (this.#thread === thread) this.#thread = undefined;
    });
    return thread;
  }

  async #endThread(): Promise<void> {
    const thread = this.#thread;
    this.#thread = undefined;
    await thread?.terminate();
  }
}

function tooManyWaiting(): ParleyError {
  return new ParleyError("resource_exhausted", "too many documents wait to be read; try again in a moment", {
    reason: "ingestion-full",
    retryable: true,
    retryAfterMs: RETRY_AFTER_MS,
  });
}

function tooMuchTime(timeoutMs: number): ParleyError {
  return documentError(
    "document-too-complex",
    `the document could not be read within ${timeoutMs / 1000} s; save it anew in a simpler form, or divide it`,
  );
}

function tooMuchMemory(bytesMax: number, cause?: unknown): ParleyError {
  return documentError(
    "document-too-complex",
    `the document takes more than ${Math.round(bytesMax / 2 ** 20)} MB to read; save it anew in a simpler form, or divide it`,
    cause,
  );
}
