/**
 * PGlite on disk: opens it so that a kill or a power cut cannot ruin it, and runs one statement at a time. Lives
 * in the worker thread; knows nothing of threads, locks or HTTP.
 */
import { fsyncSync } from "node:fs";
import { type Extensions, PGlite } from "@electric-sql/pglite";
import { NodeFS } from "@electric-sql/pglite/nodefs";
import { pg_textsearch } from "@electric-sql/pglite-pg_textsearch";
import { vector } from "@electric-sql/pglite-pgvector";
import { abortFailure } from "../../core/directory/abortable.ts";
import { databaseUnavailable } from "../../core/directory/sql-failure.ts";
import {
  type BatchOptions,
  beginStatement,
  type RawResult,
  type RawSqlExecutor,
  type RawStatement,
  toStatementError,
} from "./raw-sql-executor.ts";

/** Statements waiting for their turn; more would be answered after their callers have gone. */
const WAITING_MAX = 2_000;

/** After this much of new log a checkpoint is due; what a recovery has to read is bounded by it. */
const CHECKPOINT_BYTES = 16 * 1024 * 1024;

/**
 * PGlite starts PostgreSQL with `-F`, which turns fsync off: a power cut could then destroy the database. It is
 * on here, by way of `fsync`, the one call that the WebAssembly runtime can be taught (see DurableNodeFs).
 * Buffers beyond 32 MB cost memory that the operating system's own cache already provides.
 */
const START_PARAMETERS = [
  ...PGlite.defaultStartParams.filter((parameter) => parameter !== "-F"),
  ...["-c", "wal_sync_method=fsync"],
  ...["-c", "shared_buffers=32MB"],
  ...["-c", "max_wal_size=64MB"],
  ...["-c", "min_wal_size=32MB"],
  ...["-c", "shared_preload_libraries=pg_textsearch"],
];

/**
 * What the index of knowledge needs (postgres-vector-index.ts). pg_textsearch asks PGlite to preload it, which PGlite
 * does by overwriting `postgresql.conf`: the library is named among the start parameters instead, so that a database
 * keeps its settings and an earlier version can still open it.
 */
const EXTENSIONS: Extensions = {
  vector,
  pg_textsearch: {
    name: pg_textsearch.name,
    async setup(database, options) {
      const { sharedPreloadLibraries, ...setup } = await pg_textsearch.setup(database, options);
      return setup;
    },
  },
};

/** What the Emscripten runtime hands out: the part that is needed of its Node file system. */
interface EmscriptenModule {
  NODEFS?: { stream_ops: { fsync?: (stream: { nfd?: number }) => number } };
}

/**
 * PGlite's file system with a real fsync. Emscripten's NODEFS has none: `fsync` succeeds and does nothing
 * (PGlite issue 1107), so that what PostgreSQL believes to be on disk is only in the system's cache.
 */
class DurableNodeFs extends NodeFS {
  override async init(...args: Parameters<NodeFS["init"]>): ReturnType<NodeFS["init"]> {
    const { emscriptenOpts } = await super.init(...args);
    const teachFsync = (module: EmscriptenModule) => {
      if (!module.NODEFS) throw new Error("PGlite no longer shows its file system; fsync would do nothing");
      module.NODEFS.stream_ops.fsync = ({ nfd }) => {
        if (nfd !== undefined) fsyncSync(nfd);
        return 0;
      };
    };
    const preRun = [emscriptenOpts.preRun ?? [], teachFsync].flat() as NonNullable<
      typeof emscriptenOpts.preRun
    >;
    return { emscriptenOpts: { ...emscriptenOpts, preRun } };
  }
}

/** Opens PGlite; makes a new database when the directory is empty or missing. */
export function openPglite(dataDirectory: string): Promise<PGlite> {
  return PGlite.create({
    fs: new DurableNodeFs(dataDirectory),
    startParams: START_PARAMETERS,
    extensions: EXTENSIONS,
  });
}

/** {@link RawSqlExecutor} over an open PGlite. */
export class PgliteEngine implements RawSqlExecutor {
  readonly #db: PGlite;
  readonly #onFatal: (error: unknown) => void;
  /** Maps every known type to itself, in both directions: values stay text. */
  readonly #textOptions: { parsers: Record<string, <T>(value: T) => T>; serializers: Record<string, never> };
  #turn: Promise<unknown> = Promise.resolve();
  #waiting = 0;
  /** Why the database cannot be used any more; a statement run all the same might do harm. */
  #fatal: unknown;

  /** @param onFatal PGlite failed in a way that no statement causes: it must be opened anew */
  constructor(db: PGlite, onFatal: (error: unknown) => void) {
    this.#db = db;
    this.#onFatal = onFatal;
    const identity = (value: unknown) => value;
    // Plain objects: PGlite spreads them, and a Proxy would spread to nothing.
    const asText = (types: object) => Object.fromEntries(Object.keys(types).map((oid) => [oid, identity]));
    this.#textOptions = {
      parsers: asText(db.parsers) as Record<string, <T>(value: T) => T>,
      serializers: asText(db.serializers) as Record<string, never>,
    };
  }

  execute(statement: RawStatement, signal?: AbortSignal): Promise<RawResult> {
    return this.#inTurn(signal, async () => {
      const result = await this.#run(statement);
      // There is one session for all; nobody may leave it in a transaction.
      if (this.#db.isInTransaction()) await this.#db.exec("ROLLBACK");
      return result;
    });
  }

  executeBatch(
    statements: readonly RawStatement[],
    options: BatchOptions,
    signal?: AbortSignal,
  ): Promise<RawResult[]> {
    return this.#inTurn(signal, () =>
      this.#rollingBack(async () => {
        await this.#db.exec(beginStatement(options));
        const results: RawResult[] = [];
        for (const statement of statements) results.push(await this.#run(statement));
        await this.#db.exec("COMMIT");
        return results;
      }),
    );
  }

  /** Runs several statements in one transaction, as one simple query. */
  runScript(sql: string, signal?: AbortSignal): Promise<void> {
    return this.#inTurn(signal, () =>
      this.#rollingBack(async () => {
        await this.#db.exec(sql);
      }),
    );
  }

  /**
   * Writes a checkpoint when enough has changed since the last one; returns whether it did. To be called now and
   * then: PostgreSQL's own checkpointer does not run in PGlite, and without one the log would only grow.
   */
  async checkpointIfDue(): Promise<boolean> {
    const { rows } = await this.execute({
      text: `SELECT pg_current_wal_insert_lsn() - redo_lsn >= ${CHECKPOINT_BYTES} FROM pg_control_checkpoint()`,
      params: [],
    });
    const isDue = rows[0]?.[0] === "t";
    if (isDue) await this.execute({ text: "CHECKPOINT", params: [] });
    return isDue;
  }

  /** Waits for the statements that have their turn, and closes the database: the next start need not recover. */
  async close(): Promise<void> {
    await this.#turn;
    await this.#db.close();
  }

  async #run({ text, params }: RawStatement): Promise<RawResult> {
    const result = await this.#db.query<(string | null)[]>(text, [...params], {
      ...this.#textOptions,
      rowMode: "array",
    });
    return {
      fields: result.fields,
      rows: result.rows,
      command: result.command ?? "",
      rowCount: result.rowCount ?? null,
    };
  }

  async #rollingBack<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } finally {
      if (this.#db.isInTransaction()) await this.#db.exec("ROLLBACK");
    }
  }

  /** Runs `work` when all before it are done; translates its failure. */
  #inTurn<T>(signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
    if (this.#waiting >= WAITING_MAX) {
      return Promise.reject(databaseUnavailable(new Error(`${WAITING_MAX} statements already wait`)));
    }
    this.#waiting++;
    const run = this.#turn.then(async () => {
      this.#waiting--;
      if (signal?.aborted) throw abortFailure(signal);
      if (this.#fatal !== undefined) throw databaseUnavailable(this.#fatal);
      try {
        return await work();
      } catch (error) {
        const statementError = toStatementError(error);
        if (statementError && !isFatal(statementError.fields.severity)) throw statementError;
        this.#fatal = error;
        this.#onFatal(error);
        throw databaseUnavailable(error);
      }
    });
    // PGlite works without ever leaving the microtask queue: without this pause a row of statements would keep
    // the thread from hearing anything, a cancellation for instance, until the last of them is done.
    const pause = () => new Promise((resolve) => setImmediate(resolve));
    this.#turn = run.then(pause, pause);
    return run;
  }
}

/** After these severities the server process ends; PGlite has only the one. */
function isFatal(severity: string | undefined): boolean {
  return severity === "FATAL" || severity === "PANIC";
}
