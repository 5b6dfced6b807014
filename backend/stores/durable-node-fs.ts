/**
 * PGlite's file system with a real fsync, and with PostgreSQL's log synced when its owner says so: a statement that
 * may wait for the disk later is answered without it. Whatever the log describes reaches the disk after the log.
 */
import { fsyncSync } from "node:fs";
import { NodeFS } from "@electric-sql/pglite/nodefs";

/** An open file of Emscripten: the part that is needed. */
interface Stream {
  /** The path within PGlite. */
  readonly path?: string;
  /** The file of Node behind it. */
  readonly nfd?: number;
}

// biome-ignore lint/suspicious/noExplicitAny: Emscripten's operations are passed on as they came
type Operation = (...args: any[]) => unknown;

/** What the Emscripten runtime hands out: the part that is needed of its Node file system. */
interface EmscriptenModule {
  NODEFS?: {
    stream_ops: Record<"write" | "close" | "setattr", Operation> & { fsync?: (stream: Stream) => number };
    node_ops: Record<"rename" | "unlink" | "setattr", Operation>;
  };
}

/**
 * Emscripten's NODEFS has no fsync: the call succeeds and does nothing (PGlite issue 1107), so that what PostgreSQL
 * believes to be on disk is only in the system's cache. Here it syncs every file but those of the write-ahead log:
 * these are noted, and synced by {@link syncLog}, or sooner: before anything else is written, synced, renamed,
 * truncated or removed, and before they are closed. Thus a power cut can cost the end of the log, and never leaves
 * a page on the disk whose log is not there. A sync that fails throws, and ends PGlite as it would PostgreSQL.
 */
export class DurableNodeFs extends NodeFS {
  readonly #unsynced = new Set<number>();
  #logFlushes = 0;

  /** How often PostgreSQL has asked for its log to be on the disk; a statement that changes this has committed. */
  get logFlushes(): number {
    return this.#logFlushes;
  }

  /** Whether the log has anything that {@link syncLog} would bring to the disk. */
  get hasUnsyncedLog(): boolean {
    return this.#unsynced.size > 0;
  }

  /** Brings to the disk what PostgreSQL believes to be there. Blocks; free when there is nothing to do. */
  syncLog(): void {
    for (const file of this.#unsynced) {
      fsyncSync(file);
      this.#unsynced.delete(file);
    }
  }

  override async init(...args: Parameters<NodeFS["init"]>): ReturnType<NodeFS["init"]> {
    const { emscriptenOpts } = await super.init(...args);
    const preRun = [
      emscriptenOpts.preRun ?? [],
      (module: EmscriptenModule) => this.#teach(module),
    ].flat() as NonNullable<typeof emscriptenOpts.preRun>;
    return { emscriptenOpts: { ...emscriptenOpts, preRun } };
  }

  #teach({ NODEFS }: EmscriptenModule): void {
    if (!NODEFS) throw new Error("PGlite no longer shows its file system; fsync would do nothing");
    const { stream_ops: streams, node_ops: nodes } = NODEFS;
    const { write, close } = streams;
    streams.fsync = ({ path, nfd }) => {
      if (nfd === undefined) return 0;
      if (isLogFile(path)) {
        this.#logFlushes++;
        this.#unsynced.add(nfd);
      } else {
        this.syncLog();
        fsyncSync(nfd);
      }
      return 0;
    };
    streams.write = (stream: Stream, ...rest) => {
      if (!isLogFile(stream.path)) this.syncLog();
      return write(stream, ...rest);
    };
    streams.close = (stream: Stream) => {
      if (stream.nfd !== undefined && this.#unsynced.has(stream.nfd)) this.syncLog();
      return close(stream);
    };
    streams.setattr = this.#afterLog(streams.setattr);
    nodes.setattr = this.#afterLog(nodes.setattr);
    nodes.rename = this.#afterLog(nodes.rename);
    nodes.unlink = this.#afterLog(nodes.unlink);
  }

  #afterLog(operation: Operation): Operation {
    return (...args) => {
      this.syncLog();
      return operation(...args);
    };
  }
}

function isLogFile(path: string | undefined): boolean {
  return path?.includes("/pg_wal/") === true;
}
