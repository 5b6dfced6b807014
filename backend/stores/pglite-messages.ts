/** What the main thread and the PGlite worker say to each other: plain data, matched by id. */
import type { RawResult, RawStatement, StatementErrorFields } from "./raw-sql-executor.ts";

/** What the worker is started with. */
export interface PgliteWorkerData {
  /**
   * `initialize` makes a new database and ends; `serve` opens one and answers requests. Two workers, because
   * making a database takes 500 MB of memory that only the end of its thread gives back.
   */
  readonly task: "initialize" | "serve";
  readonly dataDirectory: string;
  readonly endpoint?: { readonly password: string; readonly port: number };
}

/** From the main thread. */
export type PgliteRequest =
  | {
      readonly kind: "execute";
      readonly id: number;
      readonly statement: RawStatement;
      /** The answer need not wait for the disk; see PgliteEngine. */
      readonly relaxed: boolean;
    }
  | { readonly kind: "script"; readonly id: number; readonly sql: string }
  /** Nobody waits for that request any more; it need not run if it has not begun. */
  | { readonly kind: "cancel"; readonly id: number }
  /** Finish what was asked, close the database, end the thread. */
  | { readonly kind: "close" };

/** From the worker. */
export type PgliteReply =
  | { readonly kind: "ready"; readonly endpointPort: number | undefined }
  | { readonly kind: "result"; readonly id: number; readonly result: RawResult | undefined }
  | {
      readonly kind: "failure";
      readonly id: number;
      readonly message: string;
      /** Present when the database refused the statement. */
      readonly fields: StatementErrorFields | undefined;
    }
  /** Something went wrong that belongs to no request; the worker goes on. */
  | { readonly kind: "trouble"; readonly message: string };
