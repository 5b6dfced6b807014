/** PostgreSQL through node-postgres: a bounded pool whose failures are ours, and that no idle error brings down. */
import pg from "pg";
import { abortable, abortFailure } from "../../core/directory/abortable.ts";
import type { SqlClient, SqlParam } from "../../core/directory/sql-client.ts";
import { databaseUnavailable, statementFailure } from "../../core/directory/sql-failure.ts";
import { ParleyError } from "../../core/errors/parley-error.ts";
import { toStatementError } from "./raw-sql-executor.ts";
import type { SqlDatabase, WithSession } from "./sql-database.ts";

/** A PostgreSQL server allows 100 connections by default; several backends share them. */
const CONNECTIONS_MAX = 10;
/** Statements waiting for a connection; more would be answered after their callers have gone. */
const WAITING_MAX = 1_000;
const CONNECT_TIMEOUT_MS = 5_000;
const STATEMENT_TIMEOUT_MS = 10_000;
/** The server's own timeout comes first; this one is for a server that does not answer at all. */
const ANSWER_TIMEOUT_MS = STATEMENT_TIMEOUT_MS + 2_000;
const SCRIPT_TIMEOUT_MS = 600_000;
const IDLE_TIMEOUT_MS = 30_000;

/** What a database or a role may have set against long statements: 0 is none. Some servers know fewer of them. */
const UNLIMITED = `
  SELECT set_config(name, '0', false) FROM pg_settings
   WHERE name IN ('statement_timeout', 'lock_timeout', 'transaction_timeout')`;

/** Where the database is, and who hears of trouble that belongs to no call. */
export interface PgSqlClientOptions {
  /** `postgres://…`; a secret. */
  readonly connectionString: string;
  /** Shown in `pg_stat_activity`. Default `parley-backend`. */
  readonly applicationName?: string;
  /** An idle connection broke; the pool has already dropped it. */
  readonly onIdleError: (error: Error) => void;
}

/** {@link SqlDatabase} over a pool of connections. Connects when first asked. */
export class PgSqlClient implements SqlDatabase {
  /** For {@link PgRawSqlExecutor}, which shares the connections. */
  readonly pool: pg.Pool;
  /** What a commit waits for is the server's own setting, `synchronous_commit`. */
  readonly relaxed: SqlClient = this;
  readonly isSingleConnection = false;
  /** Not behind PgBouncer, where a session's locks would stay with a connection that others use next. */
  readonly withSession: WithSession | undefined;
  /** What every connection has, the pool's and a session's. */
  readonly #connection: pg.ClientConfig;
  readonly #onIdleError: PgSqlClientOptions["onIdleError"];
  #closing: Promise<void> | undefined;

  constructor({ connectionString, applicationName = "parley-backend", onIdleError }: PgSqlClientOptions) {
    this.#connection = {
      ...{ connectionString, application_name: applicationName, keepAlive: true },
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    };
    this.#onIdleError = onIdleError;
    const isPooled = isPooledAddress(connectionString);
    if (!isPooled) this.withSession = (work, signal) => this.#withSession(work, signal);
    this.pool = new pg.Pool({
      ...this.#connection,
      max: CONNECTIONS_MAX,
      idleTimeoutMillis: IDLE_TIMEOUT_MS,
      query_timeout: ANSWER_TIMEOUT_MS,
      // PgBouncer, which Neon's pooled addresses lead to, refuses connections that ask for it.
      ...(isPooled ? {} : { statement_timeout: STATEMENT_TIMEOUT_MS }),
    });
    this.pool.on("error", onIdleError);
  }

  async query<Row extends object>(
    text: string,
    params: readonly SqlParam[],
    signal?: AbortSignal,
  ): Promise<Row[]> {
    if (signal?.aborted) throw abortFailure(signal);
    this.#checkRoom();
    try {
      const statement = singleStatement(text, params);
      const result = await abortable(this.pool.query<Row & pg.QueryResultRow>(statement), signal);
      return result.rows;
    } catch (error) {
      throw toSqlFailure(error);
    }
  }

  async runScript(sql: string): Promise<void> {
    try {
      // Without parameters it goes as one simple query, which the server runs as one transaction.
      await this.pool.query({ text: sql, query_timeout: SCRIPT_TIMEOUT_MS } as pg.QueryConfig);
    } catch (error) {
      throw toSqlFailure(error);
    }
  }

  async #withSession<Result>(
    work: (session: SqlClient) => Promise<Result>,
    signal: AbortSignal,
  ): Promise<Result> {
    if (signal.aborted) throw abortFailure(signal);
    const client = new pg.Client(this.#connection);
    client.on("error", this.#onIdleError);
    // Ending it in the middle of a statement breaks the connection off.
    let ended: Promise<void> | undefined;
    const end = () => {
      ended ??= client.end().catch(() => undefined);
      return ended;
    };
    signal.addEventListener("abort", end, { once: true });
    try {
      await abortable(client.connect(), signal);
      const session = new PgSession(client, signal);
      await session.query(UNLIMITED, []);
      return await work(session);
    } catch (error) {
      throw signal.aborted ? abortFailure(signal) : toSqlFailure(error);
    } finally {
      signal.removeEventListener("abort", end);
      await end();
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.pool.end();
    return this.#closing;
  }

  #checkRoom(): void {
    if (this.pool.waitingCount >= WAITING_MAX) {
      throw databaseUnavailable(new Error(`${WAITING_MAX} statements already wait for a connection`));
    }
  }
}

/** One connection. */
class PgSession implements SqlClient {
  readonly #client: pg.Client;
  readonly #signal: AbortSignal;

  constructor(client: pg.Client, signal: AbortSignal) {
    this.#client = client;
    this.#signal = signal;
  }

  async query<Row extends object>(
    text: string,
    params: readonly SqlParam[],
    signal = this.#signal,
  ): Promise<Row[]> {
    const statement = singleStatement(text, params);
    const result = await abortable(this.#client.query<Row & pg.QueryResultRow>(statement), signal);
    return result.rows;
  }
}

/**
 * A statement for the extended protocol, which takes only one at a time. Left to itself, node-postgres sends a
 * text without parameters by the simple protocol, which runs all that it finds.
 */
export function singleStatement(text: string, params: readonly unknown[]): pg.QueryConfig {
  return { text, values: [...params], queryMode: "extended" } as pg.QueryConfig;
}

/** What a failure of node-postgres means to the caller. */
export function toSqlFailure(error: unknown): ParleyError {
  if (error instanceof ParleyError) return error;
  const statementError = toStatementError(error);
  if (statementError) return statementFailure(statementError.sqlState, error);
  if (error instanceof TypeError) {
    return new ParleyError("internal", "internal error: a statement could not be sent", { cause: error });
  }
  // Refused, reset, timed out, closed: node-postgres has no common class for them.
  return databaseUnavailable(error);
}

/** Neon's pooled addresses: `ep-name-123456-pooler.region.aws.neon.tech`. */
function isPooledAddress(connectionString: string): boolean {
  const host = URL.parse(connectionString)?.hostname ?? "";
  return host.split(".")[0]?.endsWith("-pooler") ?? false;
}
