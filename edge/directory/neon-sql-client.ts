/**
 * PostgreSQL at the edge: Neon's SQL over HTTP, from Neon itself or from the backend's endpoint on loopback. One
 * request per statement, no connection kept, as Workers want it.
 */
import { type NeonQueryFunction, neon, neonConfig } from "@neondatabase/serverless";
import { abortFailure } from "../../core/directory/abortable.ts";
import type { SqlClient, SqlParam } from "../../core/directory/sql-client.ts";
import { databaseUnavailable, statementFailure } from "../../core/directory/sql-failure.ts";
import { ParleyError } from "../../core/errors/parley-error.ts";
import { startTimeLimit } from "../../core/resilience/time-limit.ts";

/** Neon wakes a sleeping database within half a second; past this the request has better uses for its time. */
const TIMEOUT_DEFAULT_MS = 5_000;

/** Where the database is. */
export interface NeonSqlClientOptions {
  /** `postgresql://user:password@host/database`; a secret. */
  readonly connectionString: string;
  /**
   * Where statements are posted, instead of the address that the driver derives from the host name, e.g.
   * `http://127.0.0.1:5433/sql`. The driver keeps it in a variable of its module (`neonConfig`): an isolate
   * speaks to one such endpoint only, the one named last.
   */
  readonly fetchEndpoint?: string;
  /** For one statement, there and back. Default 5 s. */
  readonly timeoutMs?: number;
}

/** {@link SqlClient} over Neon's HTTP driver. */
export class NeonSqlClient implements SqlClient {
  readonly #sql: NeonQueryFunction<false, false>;
  readonly #timeoutMs: number;

  /** @throws RangeError when the connection string is none; its text is not part of the message */
  constructor(options: NeonSqlClientOptions) {
    if (!isConnectionString(options.connectionString)) {
      // The driver would say so as well, and print the password.
      throw new RangeError(
        "the connection string is not of the form postgresql://user:password@host/database",
      );
    }
    const { fetchEndpoint } = options;
    if (fetchEndpoint !== undefined) neonConfig.fetchEndpoint = fetchEndpoint;
    this.#timeoutMs = options.timeoutMs ?? TIMEOUT_DEFAULT_MS;
    this.#sql = neon(options.connectionString, { disableWarningInBrowsers: true });
  }

  async query<Row extends object>(
    text: string,
    params: readonly SqlParam[],
    signal?: AbortSignal,
  ): Promise<Row[]> {
    const limit = startTimeLimit(this.#timeoutMs);
    const fetchSignal = signal ? AbortSignal.any([signal, limit.signal]) : limit.signal;
    try {
      const rows = await this.#sql.query(text, [...params], { fetchOptions: { signal: fetchSignal } });
      return rows as Row[];
    } catch (error) {
      throw fetchSignal.aborted ? abortFailure(fetchSignal) : toSqlFailure(error);
    } finally {
      limit.clear();
    }
  }
}

/**
 * Only an error with an SQLSTATE comes from the database. The rest is Neon's gateway (status 400 without a code:
 * the database does not start; 5xx), the network, or an answer that is no JSON.
 */
function toSqlFailure(error: unknown): ParleyError {
  const sqlState = (error as { code?: unknown }).code;
  if (typeof sqlState === "string" && sqlState !== "") return statementFailure(sqlState, error);
  if (error instanceof TypeError) {
    return new ParleyError("internal", "internal error: a statement could not be sent", { cause: error });
  }
  return databaseUnavailable(error);
}

function isConnectionString(text: string): boolean {
  const url = URL.parse(text.replace(/^postgres(ql)?:/, "http:"));
  return (
    /^postgres(ql)?:/.test(text) &&
    url !== null &&
    url.username !== "" &&
    url.hostname !== "" &&
    url.pathname.length > 1
  );
}
