/**
 * PGlite on disk: opens it so that a kill or a power cut cannot ruin it, and runs one statement at a time. Lives
 * in the worker thread; knows nothing of threads, locks or HTTP.
 */
import { type Extensions, PGlite } from "@electric-sql/pglite";
import { pg_textsearch } from "@electric-sql/pglite-pg_textsearch";
import { vector } from "@electric-sql/pglite-pgvector";
import { abortFailure } from "../../core/directory/abortable.ts";
import { databaseUnavailable } from "../../core/directory/sql-failure.ts";
import { DurableNodeFs } from "./durable-node-fs.ts";
import { PgliteStatements } from "./pglite-statements.ts";
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
 * What autovacuum would do, which does not run in PGlite, as statements: of tables with a fifth of dead rows, give the
 * space to new ones; of those that have never been looked at, or have changed by half since, tell the planner.
 */
const FIND_NEGLECTED = `
  SELECT command || format(' %I.%I', s.schemaname, s.relname)
    FROM pg_stat_user_tables s JOIN pg_class c ON c.oid = s.relid CROSS JOIN LATERAL (VALUES
      ('VACUUM', s.n_dead_tup > 1000 + 0.2 * s.n_live_tup),
      ('ANALYZE', s.n_mod_since_analyze > 100 + 0.5 * s.n_live_tup OR (c.reltuples < 0 AND pg_relation_size(c.oid) > 0))
    ) upkeep (command, is_due) WHERE is_due`;

/** How long the log of a relaxed statement may wait for the disk: half of the 100 ms that are promised for it. */
const RELAXED_SYNC_MS = 50;

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
  // ANALYZE reads 300 rows of a table for each of these, and everybody waits; of the usual 100, 2 to 4 s in a large one.
  ...["-c", "default_statistics_target=20"],
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

/** An open database, and the files under it. */
export interface OpenPglite {
  readonly db: PGlite;
  readonly files: DurableNodeFs;
}

/** Opens PGlite; makes a new database when the directory is empty or missing. */
export async function openPglite(dataDirectory: string): Promise<OpenPglite> {
  const files = new DurableNodeFs(dataDirectory);
  const db = await PGlite.create({ fs: files, startParams: START_PARAMETERS, extensions: EXTENSIONS });
  files.syncLog();
  return { db, files };
}

/** {@link RawSqlExecutor} over an open PGlite. */
export class PgliteEngine implements RawSqlExecutor {
  readonly #db: PGlite;
  readonly #files: DurableNodeFs;
  readonly #onFatal: (error: unknown) => void;
  readonly #statements: PgliteStatements;
  #turn: Promise<unknown> = Promise.resolve();
  #waiting = 0;
  #isClosing = false;
  #relaxedSync: NodeJS.Timeout | undefined;
  /** Why the database cannot be used any more; a statement run all the same might do harm. */
  #fatal: unknown;

  /** @param onFatal PGlite failed in a way that no statement causes: it must be opened anew */
  constructor({ db, files }: OpenPglite, onFatal: (error: unknown) => void) {
    this.#db = db;
    this.#files = files;
    this.#onFatal = onFatal;
    this.#statements = new PgliteStatements(db);
  }

  execute(statement: RawStatement, signal?: AbortSignal): Promise<RawResult> {
    return this.#inTurn(signal, () => this.#onDisk(() => this.#runAlone(statement)));
  }

  /**
   * Runs a statement whose effect survives the death of this process at once, and a power cut some
   * {@link RELAXED_SYNC_MS} milliseconds later (or, if another statement runs for longer, when that one ends).
   */
  executeRelaxed(statement: RawStatement, signal?: AbortSignal): Promise<RawResult> {
    return this.#inTurn(signal, () => this.#runAlone(statement));
  }

  executeBatch(
    statements: readonly RawStatement[],
    options: BatchOptions,
    signal?: AbortSignal,
  ): Promise<RawResult[]> {
    return this.#inTurn(signal, () =>
      this.#onDisk(() =>
        this.#rollingBack(async () => {
          await this.#db.exec(beginStatement(options));
          const results: RawResult[] = [];
          for (const statement of statements) results.push(await this.#statements.run(statement));
          await this.#db.exec("COMMIT");
          return results;
        }),
      ),
    );
  }

  /** Runs several statements in one transaction, as one simple query. */
  runScript(sql: string, signal?: AbortSignal): Promise<void> {
    return this.#inTurn(signal, () =>
      this.#onDisk(() =>
        this.#rollingBack(async () => {
          await this.#db.exec(sql);
        }),
      ),
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

  /**
   * Looks after the tables that have changed much; returns the statements. To be called now and then: the planner
   * takes every table for nearly empty otherwise, and reads all of it for one row. A table of 10,000 chunks takes 0.3 s.
   */
  async tidyIfDue(): Promise<string[]> {
    const { rows } = await this.execute({ text: FIND_NEGLECTED, params: [] });
    const statements = rows.flatMap(([text]) => (text === null || text === undefined ? [] : [text]));
    for (const text of statements) {
      if (this.#isClosing) break;
      await this.execute({ text, params: [] });
    }
    return statements;
  }

  /** Waits for the statements that have their turn, and closes the database: the next start need not recover. */
  async close(): Promise<void> {
    this.#isClosing = true;
    await this.#turn;
    clearTimeout(this.#relaxedSync);
    await this.#db.close();
    this.#files.syncLog();
  }

  async #runAlone(statement: RawStatement): Promise<RawResult> {
    const result = await this.#statements.run(statement);
    // There is one session for all; nobody may leave it in a transaction.
    if (this.#db.isInTransaction()) await this.#db.exec("ROLLBACK");
    return result;
  }

  /** Has on the disk what `work` has committed, before it ends; what only reads waits for nothing. */
  async #onDisk<T>(work: () => Promise<T>): Promise<T> {
    const before = this.#files.logFlushes;
    const result = await work();
    if (this.#files.logFlushes !== before) this.#files.syncLog();
    return result;
  }

  /** Sees to it that what is not on the disk yet will be soon. */
  #syncSoon(): void {
    if (this.#relaxedSync || !this.#files.hasUnsyncedLog) return;
    this.#relaxedSync = setTimeout(() => {
      this.#relaxedSync = undefined;
      try {
        this.#files.syncLog();
      } catch (error) {
        this.#fail(error);
      }
    }, RELAXED_SYNC_MS);
  }

  #fail(error: unknown): void {
    this.#fatal = error;
    this.#onFatal(error);
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
        this.#fail(error);
        throw databaseUnavailable(error);
      } finally {
        this.#syncSoon();
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
