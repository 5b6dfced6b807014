/**
 * The embedded PostgreSQL: PGlite on disk, in a worker thread, alone on its directory. Speaks with the worker by
 * numbered messages, and starts another one when it dies.
 *
 * States: `starting` (the first start, or the one after a crash; requests wait in the worker's port), `ready`,
 * `failed` (it died again too soon; every request is `unavailable`), `closed`.
 */
import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { dirname } from "node:path";
import { Worker } from "node:worker_threads";
import pg from "pg";
import { abortable, abortFailure } from "../../core/directory/abortable.ts";
import type { SqlClient, SqlParam } from "../../core/directory/sql-client.ts";
import { databaseUnavailable, statementFailure } from "../../core/directory/sql-failure.ts";
import { type DirectoryLock, lockDirectory } from "./directory-lock.ts";
import { parameterText } from "./parameter-text.ts";
import type { PgliteReply, PgliteRequest, PgliteWorkerData } from "./pglite-messages.ts";
import { type RawResult, StatementError } from "./raw-sql-executor.ts";
import type { SqlDatabase } from "./sql-database.ts";

/** Requests sent and not answered; more would be answered after their callers have gone. */
const PENDING_MAX = 2_000;
const ANSWER_TIMEOUT_MS = 30_000;
const SCRIPT_TIMEOUT_MS = 600_000;
const CLOSE_TIMEOUT_MS = 10_000;
/** A worker that dies sooner than this after a crash is not started again. */
const STABLE_AFTER_MS = 60_000;

/** What happens to the worker beside its answers. `error` is for the log. */
export type PgliteEvent =
  | { readonly kind: "crashed"; readonly restarting: boolean; readonly error: unknown }
  | { readonly kind: "restarted" }
  /** A checkpoint or a request to the endpoint failed; the worker goes on. */
  | { readonly kind: "trouble"; readonly error: unknown };

/** Where the database lives, and who else may use it. */
export interface PgliteOptions {
  /** Made when missing, with its parents; the lock is the file beside it with `.lock` appended. */
  readonly dataDirectory: string;
  /** Neon's protocol on loopback, served by the worker; see neon-endpoint.ts. Port 0 is any free one. */
  readonly endpoint?: { readonly password: string; readonly port: number };
  readonly onEvent: (event: PgliteEvent) => void;
}

interface PendingRequest {
  resolve(result: RawResult | undefined): void;
  reject(error: Error): void;
}

interface Query {
  readonly text: string;
  readonly params: readonly SqlParam[];
  readonly relaxed: boolean;
}

/** {@link SqlDatabase} over PGlite. Values are parsed as node-postgres does. */
export class PgliteSqlClient implements SqlDatabase {
  readonly isSingleConnection = true;
  readonly relaxed: SqlClient = {
    query: (text, params, signal) => this.#query({ text, params, relaxed: true }, signal),
  };
  readonly #options: PgliteOptions;
  readonly #lock: DirectoryLock;
  readonly #pending = new Map<number, PendingRequest>();
  #worker: Worker | undefined;
  #nextId = 1;
  #endpointPort: number | undefined;
  #restartedAtMs = Number.NEGATIVE_INFINITY;
  #closing: Promise<void> | undefined;

  private constructor(options: PgliteOptions, lock: DirectoryLock) {
    this.#options = options;
    this.#lock = lock;
    this.#endpointPort = options.endpoint?.port;
  }

  /**
   * Takes the directory's lock, makes the database if there is none, and opens it.
   *
   * @throws ParleyError `failed_precondition` when another process uses the directory; `unavailable` when the
   *   database does not open
   */
  static async open(options: PgliteOptions): Promise<PgliteSqlClient> {
    const { dataDirectory } = options;
    mkdirSync(dirname(dataDirectory), { recursive: true, mode: 0o700 });
    const lock = await lockDirectory(`${dataDirectory}.lock`);
    const client = new PgliteSqlClient(options, lock);
    try {
      if (isMissingOrEmpty(dataDirectory)) await client.#run({ task: "initialize", dataDirectory });
      await client.#start();
      return client;
    } catch (error) {
      await client.#worker?.terminate();
      lock.release();
      throw databaseUnavailable(error);
    }
  }

  /** Where the worker serves Neon's protocol; undefined when it was not asked to. */
  get endpointPort(): number | undefined {
    return this.#endpointPort;
  }

  query<Row extends object>(text: string, params: readonly SqlParam[], signal?: AbortSignal): Promise<Row[]> {
    return this.#query({ text, params, relaxed: false }, signal);
  }

  async #query<Row extends object>({ text, params, relaxed }: Query, signal?: AbortSignal): Promise<Row[]> {
    if (signal?.aborted) throw abortFailure(signal);
    const statement = { text, params: params.map(parameterText) };
    const id = this.#nextId++;
    const answer = this.#request({ kind: "execute", id, statement, relaxed }, ANSWER_TIMEOUT_MS);
    if (!signal) return toRows<Row>(await answer);
    const onAbort = () => this.#post({ kind: "cancel", id });
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      return toRows<Row>(await abortable(answer, signal));
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  async runScript(sql: string): Promise<void> {
    await this.#request({ kind: "script", id: this.#nextId++, sql }, SCRIPT_TIMEOUT_MS);
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const worker = this.#worker;
    if (worker) {
      const exited = new Promise((resolve) => worker.once("exit", resolve));
      this.#post({ kind: "close" });
      const timer = setTimeout(() => worker.terminate(), CLOSE_TIMEOUT_MS);
      await exited;
      clearTimeout(timer);
    }
    this.#lock.release();
  }

  #post(request: PgliteRequest): void {
    this.#worker?.postMessage(request);
  }

  #request(request: PgliteRequest & { id: number }, timeoutMs: number): Promise<RawResult | undefined> {
    return new Promise((resolve, reject) => {
      if (!this.#worker || this.#closing) return reject(databaseUnavailable(new Error("PGlite is closed")));
      if (this.#pending.size >= PENDING_MAX) {
        return reject(databaseUnavailable(new Error(`${PENDING_MAX} requests already wait for PGlite`)));
      }
      const timer = setTimeout(() => {
        this.#post({ kind: "cancel", id: request.id });
        settle();
        reject(databaseUnavailable(new Error(`PGlite did not answer within ${timeoutMs} ms`)));
      }, timeoutMs);
      const settle = () => {
        clearTimeout(timer);
        this.#pending.delete(request.id);
      };
      this.#pending.set(request.id, {
        resolve: (result) => {
          settle();
          resolve(result);
        },
        reject: (error) => {
          settle();
          reject(error);
        },
      });
      this.#post(request);
    });
  }

  /** Starts the worker that serves, and takes over when it is ready. */
  async #start(): Promise<void> {
    const { dataDirectory, endpoint } = this.#options;
    await this.#run({
      task: "serve",
      dataDirectory,
      ...(endpoint ? { endpoint: { password: endpoint.password, port: this.#endpointPort ?? 0 } } : {}),
    });
  }

  /** Resolves when the worker is ready; rejects when it dies before. */
  #run(workerData: PgliteWorkerData): Promise<void> {
    const worker = new Worker(new URL("./pglite-worker.ts", import.meta.url), { workerData });
    const serves = workerData.task === "serve";
    if (serves) this.#worker = worker;
    return new Promise((resolve, reject) => {
      let ready = false;
      let failure: unknown;
      worker.on("message", (reply: PgliteReply) => {
        if (reply.kind === "ready" && serves) {
          ready = true;
          this.#endpointPort = reply.endpointPort;
          resolve();
        } else this.#receive(reply);
      });
      worker.on("error", (error) => {
        failure = error;
      });
      worker.on("exit", (exitCode) => {
        const error = failure ?? new Error(`the PGlite worker ended with code ${exitCode}`);
        if (!serves && exitCode === 0) resolve();
        else if (ready) this.#onExit(error);
        else reject(error);
      });
    });
  }

  #receive(reply: PgliteReply): void {
    if (reply.kind === "trouble") {
      this.#options.onEvent({ kind: "trouble", error: new Error(reply.message) });
    } else if (reply.kind === "result") {
      this.#pending.get(reply.id)?.resolve(reply.result);
    } else if (reply.kind === "failure") {
      const { message, fields } = reply;
      const error = fields
        ? statementFailure(fields.code ?? "", new StatementError(message, fields))
        : databaseUnavailable(new Error(message));
      this.#pending.get(reply.id)?.reject(error);
    }
  }

  /** A worker that served is gone. */
  #onExit(error: unknown): void {
    this.#worker = undefined;
    for (const request of [...this.#pending.values()]) request.reject(databaseUnavailable(error));
    if (this.#closing) return;
    const nowMs = performance.now();
    const restarting = nowMs - this.#restartedAtMs > STABLE_AFTER_MS;
    this.#options.onEvent({ kind: "crashed", restarting, error });
    if (!restarting) return;
    this.#restartedAtMs = nowMs;
    this.#start().then(
      () => this.#options.onEvent({ kind: "restarted" }),
      (startError: unknown) => {
        this.#onExit(startError);
      },
    );
  }
}

function isMissingOrEmpty(directory: string): boolean {
  return !existsSync(directory) || readdirSync(directory).length === 0;
}

function toRows<Row extends object>(result: RawResult | undefined): Row[] {
  if (!result) return [];
  const columns = result.fields.map(({ name, dataTypeID }) => {
    const parse: (text: string) => unknown = pg.types.getTypeParser(dataTypeID, "text");
    return { name, parse };
  });
  return result.rows.map((row) => {
    const values: { [name: string]: unknown } = {};
    for (const [index, { name, parse }] of columns.entries()) {
      const text = row[index] ?? null;
      values[name] = text === null ? null : parse(text);
    }
    return values as Row;
  });
}
