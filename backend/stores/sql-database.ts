/** The port to a database that a program owns the connection to: it may change the schema, and must close it. */
import type { SqlClient } from "../../core/directory/sql-client.ts";

/** {@link SqlClient} with what only its owner needs. */
export interface SqlDatabase extends SqlClient {
  /**
   * The same database for statements whose answer need not wait for the disk, where it can make that difference:
   * what was answered survives the death of the process, and a power cut may cost the last 100 ms. For the message
   * log only. See docs/decisions/2026-11-25-message-log-does-not-wait-for-the-disk.md.
   */
  readonly relaxed: SqlClient;
  /**
   * Runs several statements, without parameters, in one transaction: all of them or none. Fails as `query` does.
   * Waits as long as the statements take; meant for migrations.
   */
  runScript(sql: string): Promise<void>;
  /** Whether there is one connection only, so that everybody waits while a statement runs. */
  readonly isSingleConnection: boolean;
  /**
   * Does work on a connection of its own, whose statements may take as long as they like and are each a transaction;
   * it is closed afterwards, and with it goes what belongs to a session, such as locks and settings. When the signal
   * aborts, the connection is closed at once, and the server may go on with the statement. Undefined where there is
   * one connection only, or none that is anybody's own.
   */
  readonly withSession?: WithSession | undefined;
  /** Waits for the statements under way and closes the connection; later calls are `unavailable`. Idempotent. */
  close(): Promise<void>;
}

/** Gives work a connection for as long as it lasts. */
export type WithSession = <Result>(
  work: (session: SqlClient) => Promise<Result>,
  signal: AbortSignal,
) => Promise<Result>;
