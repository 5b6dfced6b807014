/** Conversations out of the durable log: a question and its reply are two rows of one task. */
import { fromJson, type JsonValue } from "@bufbuild/protobuf";
import type { SqlClient } from "../../core/directory/sql-client.ts";
import { ContentSchema } from "../../proto/gen/parley/v1/agent_service_pb.js";
import { questionText } from "../agents/question-text.ts";
import {
  CONVERSATION_LIMITS,
  type ConversationKey,
  type ConversationLog,
  exchangeId,
  type SpokenExchange,
} from "./conversation-memory.ts";

/** Two rows for each exchange that may be kept; turns without an answer take their share. */
const ROWS_MAX = 2 * CONVERSATION_LIMITS.exchangesMax;
/** Of JSON: what is kept, with room for escapes. */
const BYTES_MAX = 2 * CONVERSATION_LIMITS.charactersMax;

/** The size is added up over the newest rows only, and stops what is read, not what is looked at. */
const NEWEST_ROWS = `
  SELECT "taskId", "messageId", "senderId", role, content, "isAnswer", "createdAtMs" FROM (
    SELECT *, sum(octet_length(content::text)) OVER (ORDER BY position DESC) AS bytes FROM (
      SELECT position, task_id AS "taskId", message_id AS "messageId", sender_id AS "senderId", role, content,
        (error_code IS NULL AND degraded IS NULL AND own_history IS NOT TRUE) AS "isAnswer",
        (extract(epoch FROM created_at) * 1000)::float8 AS "createdAtMs"
      FROM messages WHERE tenant_id = $1 AND context_id = $2 ORDER BY position DESC LIMIT ${ROWS_MAX}
    ) newest
  ) sized WHERE bytes <= ${BYTES_MAX} ORDER BY position DESC`;

interface Row {
  readonly taskId: string;
  readonly messageId: string;
  readonly senderId: string;
  readonly role: "user" | "agent";
  readonly content: JsonValue;
  readonly isAnswer: boolean;
  readonly createdAtMs: number;
}

/** {@link ConversationLog} over the table `messages`. */
export class SqlConversationLog implements ConversationLog {
  readonly #client: SqlClient;

  constructor(client: SqlClient) {
    this.#client = client;
  }

  async newest(
    { tenantId, contextId }: ConversationKey,
    signal: AbortSignal,
  ): Promise<readonly SpokenExchange[]> {
    const rows = await this.#client.query<Row>(NEWEST_ROWS, [tenantId, contextId], signal);
    const answers = new Map<string, Row>();
    const exchanges: SpokenExchange[] = [];
    // Newest first: a reply comes before its question.
    for (const row of rows) {
      if (row.role === "agent") {
        if (row.isAnswer && !answers.has(row.taskId)) answers.set(row.taskId, row);
        continue;
      }
      const answer = answers.get(row.taskId);
      if (answer) exchanges.push(exchangeOf(row, answer));
    }
    return exchanges.reverse();
  }
}

function exchangeOf(question: Row, answer: Row): SpokenExchange {
  return {
    id: exchangeId(question),
    atMs: question.createdAtMs,
    turns: [
      { role: "user", text: textOf(question) },
      { role: "assistant", text: textOf(answer) },
    ],
  };
}

function textOf({ content }: Row): string {
  return content === null
    ? ""
    : questionText(fromJson(ContentSchema, content, { ignoreUnknownFields: true }));
}
