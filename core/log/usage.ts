/** What a tenant has used, counted from the durable log. Only reads, and only the one tenant's rows. */
import type { SqlClient } from "../directory/sql-client.ts";
import { ParleyError } from "../errors/parley-error.ts";

/** What usage may be grouped by; several at once give one row per combination. */
export const USAGE_GROUPINGS = ["day", "agent", "model", "key"] as const;

/** One of {@link USAGE_GROUPINGS}. */
export type UsageGrouping = (typeof USAGE_GROUPINGS)[number];

/** Longest time that one question may span, days: a leap year. */
export const USAGE_DAYS_MAX = 366;

/** More rows than this are refused: a year by day for some thirty agents. */
export const USAGE_ROWS_MAX = 10_000;

const DAY_MS = 86_400_000;

/** Whose usage, when, and how it is split. */
export interface UsageQuery {
  readonly tenantId: string;
  /** First moment that counts, Unix epoch, milliseconds. */
  readonly fromMs: number;
  /** First moment that does not count any more; at most {@link USAGE_DAYS_MAX} days after `fromMs`. */
  readonly toMs: number;
  /** Empty: one row for everything. */
  readonly groupBy: readonly UsageGrouping[];
}

/** The counts of one group. A group that nothing happened in has no row. */
export interface UsageRow {
  /** `YYYY-MM-DD`, UTC; present when grouped by day. */
  readonly day?: string;
  /** The agent that was asked; present when grouped by agent. */
  readonly agentId?: string;
  /** `<provider>/<model>`; null for messages, and for turns that no model ended; present when grouped by model. */
  readonly model?: string | null;
  /** The caller's API key; null for callers without one; present when grouped by key. */
  readonly keyId?: string | null;
  /** Messages accepted. */
  readonly messages: number;
  /** Replies given, the degraded ones among them. */
  readonly replies: number;
  readonly degraded: number;
  /** Of the replies, those given again from a cache, at no cost. */
  readonly cached: number;
  /** Turns that ended with an error, or were canceled. */
  readonly errors: number;
  /** Of the replies, as providers counted them. */
  readonly inputTokens: number;
  readonly outputTokens: number;
  /** Of the replies, where no provider counted: to be added for the whole. */
  readonly estimatedInputTokens: number;
  readonly estimatedOutputTokens: number;
  /** Of summaries of conversations, counted or estimated; in no other count. */
  readonly summaryInputTokens: number;
  readonly summaryOutputTokens: number;
  /** Calls of models that failed. */
  readonly failedAttempts: number;
  /** Of the failed calls, counted or estimated; not among the replies' tokens. */
  readonly failedInputTokens: number;
  readonly failedOutputTokens: number;
  /** Calls of models that were cut off: by a cancel, by a deadline, because another model was faster. */
  readonly abandonedAttempts: number;
  /** Of those, mostly estimated; in no other count. */
  readonly abandonedInputTokens: number;
  readonly abandonedOutputTokens: number;
}

/** Closed set: nothing that a caller sends becomes SQL. */
const GROUP_COLUMNS = {
  day: { name: "day", expression: "to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD')" },
  agent: { name: "agentId", expression: "agent_id" },
  model: { name: "model", expression: "model" },
  key: { name: "keyId", expression: "key_id" },
} as const satisfies Record<UsageGrouping, { name: keyof UsageRow; expression: string }>;

/** Outcomes of attempts that the model did not cause, and of those that were no call at all. */
const ABANDONED = "('canceled', 'abandoned')";
const NOT_CALLED = "('circuit-open', 'host-busy')";

/** Every row of both tables within the time, with the columns that are counted. */
const FACTS = `
  SELECT created_at, model, key_id, role, degraded, error_code, input_tokens, output_tokens,
         coalesce(usage_estimated, false) AS estimated, metadata -> 'cached' IS NOT NULL AS cached,
         CASE role WHEN 'user' THEN receiver_id ELSE sender_id END AS agent_id
    FROM messages
   WHERE tenant_id = $1 AND created_at >= to_timestamp($2::float8 / 1000)
     AND created_at < to_timestamp($3::float8 / 1000)
  UNION ALL
  SELECT created_at, model, key_id,
         CASE WHEN outcome IN ${ABANDONED} THEN 'abandoned' WHEN outcome = 'answered' THEN purpose ELSE 'attempt' END,
         NULL, NULL, input_tokens, output_tokens, false, false, agent_id
    FROM model_attempts
   WHERE tenant_id = $1 AND created_at >= to_timestamp($2::float8 / 1000)
     AND created_at < to_timestamp($3::float8 / 1000)
     AND (outcome <> 'answered' OR purpose = 'summary') AND outcome NOT IN ${NOT_CALLED}`;

// Counts leave the database as float8: it is a JavaScript number with every driver.
const COUNTS = `
  (count(*) FILTER (WHERE role = 'user'))::float8 AS messages,
  (count(*) FILTER (WHERE role = 'agent' AND error_code IS NULL))::float8 AS replies,
  (count(*) FILTER (WHERE role = 'agent' AND degraded IS NOT NULL))::float8 AS degraded,
  (count(*) FILTER (WHERE role = 'agent' AND cached))::float8 AS cached,
  (count(*) FILTER (WHERE role = 'agent' AND error_code IS NOT NULL))::float8 AS errors,
  ${sum("input_tokens", "role = 'agent' AND NOT estimated")} AS "inputTokens",
  ${sum("output_tokens", "role = 'agent' AND NOT estimated")} AS "outputTokens",
  ${sum("input_tokens", "role = 'agent' AND estimated")} AS "estimatedInputTokens",
  ${sum("output_tokens", "role = 'agent' AND estimated")} AS "estimatedOutputTokens",
  ${sum("input_tokens", "role = 'summary'")} AS "summaryInputTokens",
  ${sum("output_tokens", "role = 'summary'")} AS "summaryOutputTokens",
  (count(*) FILTER (WHERE role = 'attempt'))::float8 AS "failedAttempts",
  ${sum("input_tokens", "role = 'attempt'")} AS "failedInputTokens",
  ${sum("output_tokens", "role = 'attempt'")} AS "failedOutputTokens",
  (count(*) FILTER (WHERE role = 'abandoned'))::float8 AS "abandonedAttempts",
  ${sum("input_tokens", "role = 'abandoned'")} AS "abandonedInputTokens",
  ${sum("output_tokens", "role = 'abandoned'")} AS "abandonedOutputTokens"`;

/**
 * Counts. Rows come in the order of their groups: days first to last, names A to Z, null last.
 *
 * @throws ParleyError `invalid_argument` (an empty, reversed or too long time, too many rows); `unavailable`
 */
export async function readUsage(
  client: SqlClient,
  query: UsageQuery,
  signal?: AbortSignal,
): Promise<UsageRow[]> {
  const { tenantId, fromMs, toMs } = query;
  checkTime(fromMs, toMs);
  const rows = await client.query<UsageRow>(statementFor(query.groupBy), [tenantId, fromMs, toMs], signal);
  if (rows.length > USAGE_ROWS_MAX) {
    throw new ParleyError(
      "invalid_argument",
      `the usage has more than ${USAGE_ROWS_MAX} rows; ask for a shorter time or group by less`,
    );
  }
  return rows;
}

function statementFor(groupBy: readonly UsageGrouping[]): string {
  const columns = USAGE_GROUPINGS.filter((grouping) => groupBy.includes(grouping)).map(
    (grouping) => GROUP_COLUMNS[grouping],
  );
  const selected = columns.map(({ name, expression }) => `${expression} AS "${name}", `).join("");
  const expressions = columns.map(({ expression }) => expression);
  const grouped =
    expressions.length === 0
      ? // Without groups PostgreSQL gives one row for nothing, too.
        "HAVING count(*) > 0"
      : `GROUP BY ${expressions.join(", ")}
         ORDER BY ${expressions.map((expression) => `${expression} COLLATE "C" NULLS LAST`).join(", ")}`;
  return `SELECT ${selected}${COUNTS} FROM (${FACTS}) facts ${grouped} LIMIT ${USAGE_ROWS_MAX + 1}`;
}

function sum(column: string, condition: string): string {
  return `coalesce(sum(${column}) FILTER (WHERE ${condition}), 0)::float8`;
}

function checkTime(fromMs: number, toMs: number): void {
  const spanMs = toMs - fromMs;
  if (!(spanMs > 0)) throw new ParleyError("invalid_argument", "`from` must lie before `to`");
  if (spanMs > USAGE_DAYS_MAX * DAY_MS) {
    throw new ParleyError("invalid_argument", `usage spans at most ${USAGE_DAYS_MAX} days`);
  }
}
