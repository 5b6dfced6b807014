/** {@link RawSqlExecutor} over node-postgres. */
import type pg from "pg";
import { abortable, abortFailure } from "../../core/directory/abortable.ts";
import { ParleyError } from "../../core/errors/parley-error.ts";
import { singleStatement, toSqlFailure } from "./pg-sql-client.ts";
import {
  type BatchOptions,
  beginStatement,
  type RawResult,
  type RawSqlExecutor,
  type RawStatement,
  toStatementError,
} from "./raw-sql-executor.ts";

/** Leaves every value as the text that the server sent. */
const TEXT_TYPES: pg.CustomTypesConfig = { getTypeParser: () => (value: unknown) => value };

/** Runs statements on the connections of a pool; a connection that failed is not used again. */
export class PgRawSqlExecutor implements RawSqlExecutor {
  readonly #pool: pg.Pool;

  constructor(pool: pg.Pool) {
    this.#pool = pool;
  }

  execute(statement: RawStatement, signal?: AbortSignal): Promise<RawResult> {
    return this.#withConnection(signal, (connection) => run(connection, statement));
  }

  executeBatch(
    statements: readonly RawStatement[],
    options: BatchOptions,
    signal?: AbortSignal,
  ): Promise<RawResult[]> {
    return this.#withConnection(signal, async (connection) => {
      await connection.query(beginStatement(options));
      try {
        const results: RawResult[] = [];
        for (const statement of statements) {
          if (signal?.aborted) throw abortFailure(signal);
          results.push(await run(connection, statement));
        }
        await connection.query("COMMIT");
        return results;
      } catch (error) {
        // Should this fail too, the connection is dropped below, which has the same effect.
        await connection.query("ROLLBACK").catch(() => undefined);
        throw error;
      }
    });
  }

  #withConnection<T>(
    signal: AbortSignal | undefined,
    use: (connection: pg.PoolClient) => Promise<T>,
  ): Promise<T> {
    const work = async () => {
      try {
        const connection = await this.#pool.connect();
        let answered = true;
        try {
          if (signal?.aborted) throw abortFailure(signal);
          return await use(connection);
        } catch (error) {
          answered = error instanceof ParleyError || toStatementError(error) !== undefined;
          throw error;
        } finally {
          // A transaction left open, or an answer still to come, would meet the next user.
          connection.release(!answered || connection.getTransactionStatus() !== "I");
        }
      } catch (error) {
        throw toStatementError(error) ?? toSqlFailure(error);
      }
    };
    return abortable(work(), signal);
  }
}

async function run(connection: pg.PoolClient, statement: RawStatement): Promise<RawResult> {
  const result = await connection.query<(string | null)[]>({
    ...singleStatement(statement.text, statement.params),
    rowMode: "array",
    types: TEXT_TYPES,
  });
  return {
    fields: result.fields.map(({ name, dataTypeID, tableID, columnID, dataTypeSize, dataTypeModifier }) => ({
      name,
      dataTypeID,
      tableID,
      columnID,
      dataTypeSize,
      dataTypeModifier,
    })),
    rows: result.rows,
    command: result.command ?? "",
    rowCount: result.rowCount,
  };
}
