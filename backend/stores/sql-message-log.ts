/** The durable log's table: how an entry becomes a row, and how many rows go in with one statement. */
import type { SqlClient } from "../../core/directory/sql-client.ts";
import type { LogEntry } from "../../core/log/message-log.ts";
import type { LogStore } from "./message-log.ts";

/**
 * One statement text for every number of rows. ORDINALITY keeps the rows in the order they were appended in; a
 * row that is already there, from a batch tried before, is left as it is.
 */
const INSERT_ROWS = `
  INSERT INTO messages (
    tenant_id, message_id, task_id, context_id, sender_id, receiver_id, in_reply_to, role, content, metadata,
    model, degraded, input_tokens, output_tokens, usage_estimated, duration_ms, request_id, error_code, created_at
  )
  SELECT
    "tenantId", "messageId", "taskId", "contextId", "senderId", "receiverId", "inReplyTo", role, content, metadata,
    model, degraded, "inputTokens", "outputTokens", "usageEstimated", "durationMs", "requestId", "errorCode",
    to_timestamp("createdAtMs" / 1000)
  FROM ROWS FROM (
    json_to_recordset($1::json) AS (
      "tenantId" text, "messageId" text, "taskId" text, "contextId" text, "senderId" text, "receiverId" text,
      "inReplyTo" text, role text, content jsonb, metadata jsonb, model text, degraded text,
      "inputTokens" integer, "outputTokens" integer, "usageEstimated" boolean, "durationMs" integer,
      "requestId" text, "errorCode" text, "createdAtMs" float8
    )
  ) WITH ORDINALITY
  ORDER BY ordinality
  ON CONFLICT (tenant_id, sender_id, message_id, task_id) DO NOTHING`;

/** What PostgreSQL's text cannot hold, as JSON.stringify writes it: NUL and halves of surrogate pairs. */
const UNSTORABLE_ESCAPES = /(?<!\\)((?:\\\\)*)\\u(?:0000|d[89a-f][0-9a-f]{2})/g;

/** {@link LogStore} over the table `messages`. */
export class SqlMessageLogStore implements LogStore {
  readonly #client: SqlClient;

  constructor(client: SqlClient) {
    this.#client = client;
  }

  /** The row as JSON; characters that PostgreSQL cannot hold become U+FFFD. */
  encode(entry: LogEntry): string {
    const { inputTokens, outputTokens, durationMs } = entry;
    const json = JSON.stringify({
      ...entry,
      ...(inputTokens === undefined ? {} : { inputTokens: Math.round(inputTokens) }),
      ...(outputTokens === undefined ? {} : { outputTokens: Math.round(outputTokens) }),
      ...(durationMs === undefined ? {} : { durationMs: Math.round(durationMs) }),
    });
    return json.includes("\\u") ? json.replace(UNSTORABLE_ESCAPES, "$1\\ufffd") : json;
  }

  async insert(rows: readonly string[], signal: AbortSignal): Promise<void> {
    await this.#client.query(INSERT_ROWS, [`[${rows.join(",")}]`], signal);
  }
}
