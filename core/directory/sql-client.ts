/** The port to PostgreSQL, whatever carries it: PGlite, node-postgres, Neon over HTTP. */

/**
 * Runs one statement. Adapters translate every failure to ParleyError: `unavailable` (retryable) when the
 * database cannot be reached or does not answer in time, `internal` for a statement that it refuses.
 */
export interface SqlClient {
  /**
   * @param text one statement with positional parameters `$1`, `$2`, …
   * @param params in order; objects go in as JSON text for `jsonb` columns, dates as ISO 8601 text
   * @param signal ends the wait, not necessarily the statement
   * @returns rows as objects by column name; `jsonb` parsed, `timestamptz` as Date, `int4` and `bool` native,
   *   `int8` and `numeric` as text or number depending on the adapter (cast in SQL where it matters)
   */
  query<Row extends object>(text: string, params: readonly SqlParam[], signal?: AbortSignal): Promise<Row[]>;
}

/** What may be bound to a parameter. */
export type SqlParam = string | number | boolean | null | readonly string[];
