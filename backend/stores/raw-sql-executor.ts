/**
 * The port to a database as Neon's protocol shows it: parameters and results as text, fields with their type
 * ids, errors with every field that PostgreSQL gives.
 */

/** One statement with its parameters, as text. */
export interface RawStatement {
  readonly text: string;
  readonly params: readonly (string | null)[];
}

/** A column of a result. What a driver does not tell beyond name and type is left out. */
export interface RawField {
  readonly name: string;
  /** OID of its type. */
  readonly dataTypeID: number;
  readonly tableID?: number;
  readonly columnID?: number;
  readonly dataTypeSize?: number;
  readonly dataTypeModifier?: number;
}

/** What a statement returned. */
export interface RawResult {
  readonly fields: readonly RawField[];
  /** In the order of `fields`; NULL is null. */
  readonly rows: readonly (readonly (string | null)[])[];
  /** The command tag's first word, e.g. `SELECT`. */
  readonly command: string;
  /** Rows returned or changed; null for commands that count none. */
  readonly rowCount: number | null;
}

/** The isolation levels, as Neon's protocol spells them. */
export const ISOLATION_LEVELS = {
  ReadUncommitted: "READ UNCOMMITTED",
  ReadCommitted: "READ COMMITTED",
  RepeatableRead: "REPEATABLE READ",
  Serializable: "SERIALIZABLE",
} as const;

/** How the transaction around a batch behaves; what is left out is the database's default. */
export interface BatchOptions {
  readonly isolationLevel?: keyof typeof ISOLATION_LEVELS | undefined;
  readonly readOnly?: boolean | undefined;
  readonly deferrable?: boolean | undefined;
}

/**
 * Runs statements. Rejects with {@link StatementError} when the database refuses one, with ParleyError
 * `unavailable` when it cannot be asked, `canceled` when the signal aborts. A statement never leaves a
 * transaction open behind it.
 */
export interface RawSqlExecutor {
  /** @param signal ends the wait; a statement that has not begun is not run */
  execute(statement: RawStatement, signal?: AbortSignal): Promise<RawResult>;
  /** Runs the statements in one transaction: all of them or none. */
  executeBatch(
    statements: readonly RawStatement[],
    options: BatchOptions,
    signal?: AbortSignal,
  ): Promise<RawResult[]>;
}

/** The fields of an error beside its message (PostgreSQL manual, section 55.8), as drivers name them. */
export const STATEMENT_ERROR_FIELDS = [
  "severity",
  "code",
  "detail",
  "hint",
  "position",
  "internalPosition",
  "internalQuery",
  "where",
  "schema",
  "table",
  "column",
  "dataType",
  "constraint",
  "file",
  "line",
  "routine",
] as const;

/** An error's fields; `code` is the SQLSTATE. */
export type StatementErrorFields = { readonly [Field in (typeof STATEMENT_ERROR_FIELDS)[number]]?: string };

/** The database refused a statement. Survives a worker's boundary as its message and fields. */
export class StatementError extends Error {
  override readonly name = "StatementError";
  readonly sqlState: string;
  readonly fields: StatementErrorFields;

  constructor(message: string, fields: StatementErrorFields) {
    super(message);
    this.sqlState = fields.code ?? "XX000";
    this.fields = fields;
  }
}

/** The driver's error as a StatementError, or undefined when it did not come from the database. */
export function toStatementError(error: unknown): StatementError | undefined {
  if (!(error instanceof Error)) return undefined;
  const source = error as Error & { [field: string]: unknown };
  if (typeof source["severity"] !== "string" || typeof source["code"] !== "string") return undefined;
  const given = STATEMENT_ERROR_FIELDS.filter((field) => typeof source[field] === "string");
  return new StatementError(
    error.message,
    Object.fromEntries(given.map((field) => [field, source[field] as string])),
  );
}

/** The statement that opens the transaction around a batch. */
export function beginStatement(options: BatchOptions): string {
  const words = ["BEGIN"];
  if (options.isolationLevel) words.push("ISOLATION LEVEL", ISOLATION_LEVELS[options.isolationLevel]);
  if (options.readOnly) words.push("READ ONLY");
  if (options.deferrable) words.push("DEFERRABLE");
  return words.join(" ");
}
