/** The durable log's tables: how an entry becomes a row, and how many rows go in with one statement. */
import type { SqlClient } from "../../core/directory/sql-client.ts";
import type { LogAttempt, LogEntry } from "../../core/log/message-log.ts";
import type { LogStore } from "./message-log.ts";
import { storableJson } from "./storable-json.ts";

/**
 * One statement text for every number of rows, and one transaction for both tables. ORDINALITY keeps the rows in
 * the order they were appended in; a row that is already there, from a batch tried before, is left as it is. A JSON null among the values of a record
 * arrives as NULL, which content must not be.
 */
const INSERT_ROWS = `
  WITH entries AS (
    SELECT * FROM ROWS FROM (
      json_to_recordset($1::json) AS (
        "tenantId" text, "messageId" text, "taskId" text, "contextId" text, "senderId" text, "receiverId" text,
        "inReplyTo" text, role text, content jsonb, metadata jsonb, model text, degraded text,
        "inputTokens" integer, "outputTokens" integer, "usageEstimated" boolean, "durationMs" integer,
        "requestId" text, "errorCode" text, "keyId" text, "agentVersion" integer, "ownHistory" boolean, attempts json,
        recovery jsonb,
        "createdAtMs" float8
      )
    ) WITH ORDINALITY
  ), attempts AS (
    INSERT INTO model_attempts (
      tenant_id, task_id, attempt, agent_id, model, outcome, duration_ms, first_token_ms,
      input_tokens, output_tokens, usage_estimated, key_id, purpose, created_at
    )
    SELECT
      e."tenantId", e."taskId", a.ordinality, e."senderId", a.model, a.outcome, a."durationMs", a."firstTokenMs",
      a."inputTokens", a."outputTokens", a."usageEstimated", e."keyId",
      CASE e.role WHEN 'summary' THEN 'summary' END, to_timestamp(e."createdAtMs" / 1000)
    FROM entries e CROSS JOIN LATERAL ROWS FROM (
      json_to_recordset(e.attempts) AS (
        model text, outcome text, "durationMs" integer, "firstTokenMs" integer,
        "inputTokens" integer, "outputTokens" integer, "usageEstimated" boolean
      )
    ) WITH ORDINALITY a
    ORDER BY e.ordinality, a.ordinality
    ON CONFLICT (tenant_id, task_id, attempt) DO NOTHING
  )
  INSERT INTO messages (
    tenant_id, message_id, task_id, context_id, sender_id, receiver_id, in_reply_to, role, content, metadata,
    model, degraded, input_tokens, output_tokens, usage_estimated, duration_ms, request_id, error_code,
    key_id, agent_version, own_history, recovery, created_at
  )
  SELECT
    "tenantId", "messageId", "taskId", "contextId", "senderId", "receiverId", "inReplyTo", role,
    coalesce(content, 'null'), metadata, model, degraded, "inputTokens", "outputTokens", "usageEstimated",
    "durationMs", "requestId", "errorCode", "keyId", "agentVersion", "ownHistory", recovery,
    to_timestamp("createdAtMs" / 1000)
  FROM entries
  WHERE role <> 'summary'
  ORDER BY ordinality
  ON CONFLICT (tenant_id, sender_id, message_id, task_id) DO NOTHING`;

/** The fields that the tables keep as `integer`. */
const WHOLE_FIELDS = ["inputTokens", "outputTokens", "durationMs", "firstTokenMs"] as const;
const INTEGER_MAX = 2 ** 31 - 1;

/** {@link LogStore} over the tables `messages` and `model_attempts`. */
export class SqlMessageLogStore implements LogStore {
  readonly #client: SqlClient;

  constructor(client: SqlClient) {
    this.#client = client;
  }

  /** The row as JSON; characters that PostgreSQL cannot hold become U+FFFD. */
  encode(entry: LogEntry): string {
    const { attempts } = entry;
    return storableJson({
      ...withWholeNumbers(entry),
      ...(attempts ? { attempts: attempts.map(withWholeNumbers) } : {}),
    });
  }

  async insert(rows: readonly string[], signal: AbortSignal): Promise<void> {
    await this.#client.query(INSERT_ROWS, [`[${rows.join(",")}]`], signal);
  }
}

/** A provider's absurd count must not cost the whole row: it is kept as the largest or smallest that fits. */
function withWholeNumbers<Fields extends LogEntry | LogAttempt>(fields: Fields): Fields {
  const rounded: Record<string, unknown> = { ...fields };
  for (const name of WHOLE_FIELDS) {
    const value = rounded[name];
    if (typeof value === "number") rounded[name] = Math.round(Math.min(Math.max(value, 0), INTEGER_MAX));
  }
  return rounded as unknown as Fields;
}
