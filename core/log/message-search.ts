/** Finds messages in the durable log, page by page. Only reads, and only the one tenant's rows. */
import type { SqlClient, SqlParam } from "../directory/sql-client.ts";
import { type JsonValue, ParleyError } from "../errors/parley-error.ts";

/** Most messages on one page. */
export const MESSAGES_PAGE_MAX = 200;

/** Messages on a page when the caller does not say. */
const MESSAGES_PAGE_DEFAULT = 50;

/** Orders of the log: the order in which messages were recorded. */
export const MESSAGE_ORDERS = ["newest-first", "oldest-first"] as const;

/** One of {@link MESSAGE_ORDERS}. */
export type MessageOrder = (typeof MESSAGE_ORDERS)[number];

/** Which messages; what is left out does not narrow the search. */
export interface MessageSearch {
  readonly tenantId: string;
  readonly contextId?: string;
  /** Messages to this agent and its replies. */
  readonly agentId?: string;
  readonly senderId?: string;
  /** First moment, Unix epoch, milliseconds. */
  readonly fromMs?: number;
  /** First moment that does not count any more. */
  readonly toMs?: number;
  /** Default `newest-first`. */
  readonly order?: MessageOrder;
  /** From the page before, together with the same search; opaque. */
  readonly cursor?: string;
  /** 1 to {@link MESSAGES_PAGE_MAX}; default 50. */
  readonly limit?: number;
}

/** A message or a reply as it was recorded. What an entry does not have is null. */
export interface LoggedMessage {
  readonly messageId: string;
  readonly taskId: string;
  readonly contextId: string;
  readonly senderId: string;
  readonly receiverId: string;
  readonly inReplyTo: string | null;
  readonly role: "user" | "agent";
  /** As ProtoJSON; without parts for a turn that ended without a reply. */
  readonly content: JsonValue;
  readonly metadata: { readonly [key: string]: JsonValue } | null;
  readonly model: string | null;
  readonly degraded: string | null;
  readonly inputTokens: number | null;
  readonly outputTokens: number | null;
  readonly usageEstimated: boolean | null;
  readonly durationMs: number | null;
  readonly requestId: string | null;
  readonly errorCode: string | null;
  readonly keyId: string | null;
  readonly agentVersion: number | null;
  /** Unix epoch, milliseconds. */
  readonly createdAtMs: number;
}

/** Some of the messages found. */
export interface MessagePage {
  readonly messages: readonly LoggedMessage[];
  /** Leads to the next page; missing on the last one. */
  readonly nextCursor?: string;
}

// Positions leave the database as text, times as float8: the same with every driver.
const COLUMNS = `
  position::text AS position, message_id AS "messageId", task_id AS "taskId", context_id AS "contextId",
  sender_id AS "senderId", receiver_id AS "receiverId", in_reply_to AS "inReplyTo", role, content, metadata,
  model, degraded, input_tokens AS "inputTokens", output_tokens AS "outputTokens",
  usage_estimated AS "usageEstimated", duration_ms AS "durationMs", request_id AS "requestId",
  error_code AS "errorCode", key_id AS "keyId", agent_version AS "agentVersion",
  (extract(epoch FROM created_at) * 1000)::float8 AS "createdAtMs"`;

/** What PostgreSQL's text cannot hold, and so no row has: NUL and halves of surrogate pairs. */
const UNSTORABLE = /[\0\p{Surrogate}]/u;

/** 18 digits always fit the `bigint` that a position is. */
const POSITION_PATTERN = /^\d{1,18}$/;

/**
 * One page. A row that another backend records late may appear behind a cursor that has passed it, so a search
 * from the oldest message on can miss rows of the last moments; within one context it misses none.
 *
 * @throws ParleyError `invalid_argument` (limit, cursor, time); `unavailable`
 */
export async function searchMessages(
  client: SqlClient,
  search: MessageSearch,
  signal?: AbortSignal,
): Promise<MessagePage> {
  const limit = search.limit ?? MESSAGES_PAGE_DEFAULT;
  checkSearch(search, limit);
  const { tenantId, contextId = "", agentId = "", senderId = "" } = search;
  if (UNSTORABLE.test(tenantId + contextId + agentId + senderId)) return { messages: [] };
  const { text, params } = statementFor(search, limit);
  const rows = await client.query<LoggedMessage & { position: string }>(text, params, signal);
  const last = rows.length > limit ? rows[limit - 1] : undefined;
  return {
    messages: rows.slice(0, limit).map(({ position: _, ...message }) => message),
    ...(last ? { nextCursor: encodeCursor(last.position) } : {}),
  };
}

function statementFor(search: MessageSearch, limit: number): { text: string; params: SqlParam[] } {
  const { tenantId, contextId, agentId, senderId, fromMs, toMs, cursor } = search;
  const newestFirst = (search.order ?? "newest-first") === "newest-first";
  const params: SqlParam[] = [];
  const conditions: string[] = [];
  const narrow = (value: SqlParam | undefined, condition: (parameter: string) => string) => {
    if (value === undefined) return;
    params.push(value);
    conditions.push(condition(`$${params.length}`));
  };
  narrow(tenantId, (tenant) => `tenant_id = ${tenant}`);
  narrow(contextId, (context) => `context_id = ${context}`);
  narrow(agentId, (agent) => `(receiver_id = ${agent} OR sender_id = ${agent})`);
  narrow(senderId, (sender) => `sender_id = ${sender}`);
  narrow(fromMs, (from) => `created_at >= to_timestamp(${from}::float8 / 1000)`);
  narrow(toMs, (to) => `created_at < to_timestamp(${to}::float8 / 1000)`);
  narrow(cursor === undefined ? undefined : decodeCursor(cursor), (position) =>
    newestFirst ? `position < ${position}::bigint` : `position > ${position}::bigint`,
  );
  // One row more than the page tells whether there is a next one.
  const text = `
    SELECT ${COLUMNS} FROM messages
     WHERE ${conditions.join(" AND ")}
     ORDER BY position ${newestFirst ? "DESC" : "ASC"}
     LIMIT ${limit + 1}`;
  return { text, params };
}

function checkSearch({ fromMs, toMs }: MessageSearch, limit: number): void {
  if (!Number.isInteger(limit) || limit < 1 || limit > MESSAGES_PAGE_MAX) {
    throw new ParleyError("invalid_argument", `\`limit\` must be from 1 to ${MESSAGES_PAGE_MAX}`);
  }
  if (fromMs !== undefined && toMs !== undefined && !(fromMs < toMs)) {
    throw new ParleyError("invalid_argument", "`from` must lie before `to`");
  }
}

function encodeCursor(position: string): string {
  return btoa(position).replaceAll("=", "");
}

function decodeCursor(cursor: string): string {
  const position = /^[A-Za-z0-9+/]{1,24}$/.test(cursor) ? tryDecode(cursor) : "";
  if (POSITION_PATTERN.test(position)) return position;
  throw new ParleyError("invalid_argument", "`cursor` is not one that a search has returned");
}

function tryDecode(cursor: string): string {
  try {
    return atob(cursor);
  } catch {
    return "";
  }
}
