/**
 * The task archive in PostgreSQL: the rows of the message log, and two small tables for what changes. Only the newest
 * rows are looked at: tasks under way are among them.
 */
import type { SqlClient } from "../../core/directory/sql-client.ts";
import type { A2AMessage } from "../../proto/gen/parley/v1/agent_service_pb.js";
import { lastEventOfRow, type QuestionRow, type ReplyRow, recordOfRow } from "../tasks/archived-task.ts";
import { replyIdOf } from "../tasks/event-envelope.ts";
import {
  ARCHIVE_RESERVED_EVENTS,
  type FinishedTask,
  type TaskArchive,
  type UnfinishedTask,
} from "../tasks/task-archive.ts";
import type { TaskRecord, TaskReference } from "../tasks/task-ledger.ts";

/** Rows that are looked at: several minutes under full load. */
const RECENT_ROWS = 200_000;
/** An older message is not answered any more: nobody waits for it, and the world has changed. */
const UNFINISHED_AGE_MS_MAX = 900_000;
/** As long as a process itself keeps finished tasks, and as many. */
const FINISHED_AGE_MS_MAX = 300_000;
const FINISHED_MAX = 1_000;
/** Claims of tasks that ended long ago. */
const CLAIM_AGE_MS_MAX = 86_400_000;

const QUESTION_COLUMNS = `
  q.tenant_id AS "tenantId", q.message_id AS "messageId", q.task_id AS "taskId", q.context_id AS "contextId",
  q.sender_id AS "senderId", q.receiver_id AS "receiverId", q.content, q.metadata, q.request_id AS "requestId",
  q.key_id AS "keyId", q.agent_version AS "agentVersion", q.recovery,
  extract(epoch FROM q.created_at)::float8 * 1000 AS "createdAtMs"`;

const REPLY_COLUMNS = `
  a.content AS "replyContent", a.metadata AS "replyMetadata", a.error_code AS "errorCode",
  a.recovery AS "replyRecovery", extract(epoch FROM a.created_at)::float8 * 1000 AS "repliedAtMs"`;

/** $1: the oldest moment that counts, milliseconds before now. Keys only: what was said may be megabytes. */
const RECENT = `
  recent AS (
    SELECT position, tenant_id, task_id, role, recovery ->> 'backendId' AS backend_id FROM messages
    WHERE position > (SELECT coalesce(max(position), 0) - ${RECENT_ROWS} FROM messages)
      AND recovery IS NOT NULL AND created_at > now() - $1::float8 * interval '1 millisecond'
  )`;

/** Whether the backend of that name may be written off: $3 is the lease time, or null where there can be only one. */
const isSilent = (id: string) => `
  ($3::float8 IS NULL OR NOT EXISTS (
    SELECT 1 FROM backends b WHERE b.id = ${id} AND b.seen_at > now() - $3::float8 * interval '1 millisecond'
  ))`;

const CLAIM = `
  WITH ${RECENT}, unanswered AS (
    SELECT q.position, q.tenant_id, q.task_id FROM recent q
    WHERE q.role = 'user' AND q.backend_id <> $2 AND ${isSilent("q.backend_id")}
      AND NOT EXISTS (
        SELECT 1 FROM recent a WHERE a.role = 'agent' AND a.tenant_id = q.tenant_id AND a.task_id = q.task_id
      )
      AND NOT EXISTS (
        SELECT 1 FROM task_claims c
        WHERE c.tenant_id = q.tenant_id AND c.task_id = q.task_id
          AND (c.backend_id = $2 OR NOT ${isSilent("c.backend_id")})
      )
    ORDER BY q.position LIMIT $4
  ), claimed AS (
    INSERT INTO task_claims AS c (tenant_id, task_id, backend_id, reserved_sequence, takeovers, changed_at)
    SELECT tenant_id, task_id, $2, 2 * ${ARCHIVE_RESERVED_EVENTS}, 1, now() FROM unanswered
    ON CONFLICT (tenant_id, task_id) DO UPDATE
      SET backend_id = $2, reserved_sequence = c.reserved_sequence + ${ARCHIVE_RESERVED_EVENTS},
          takeovers = c.takeovers + 1, changed_at = now()
      WHERE c.backend_id <> $2 AND ${isSilent("c.backend_id")}
    RETURNING tenant_id, task_id, reserved_sequence - ${ARCHIVE_RESERVED_EVENTS} AS reserved, takeovers
  )
  SELECT ${QUESTION_COLUMNS}, c.reserved, c.takeovers
  FROM claimed c
    JOIN unanswered u ON u.tenant_id = c.tenant_id AND u.task_id = c.task_id
    JOIN messages q ON q.position = u.position
  ORDER BY q.position`;

const FINISHED = `
  WITH ${RECENT}, newest AS (
    SELECT * FROM recent WHERE role = 'agent' ORDER BY position DESC LIMIT $2
  )
  SELECT ${QUESTION_COLUMNS}, ${REPLY_COLUMNS}
  FROM newest n
    JOIN recent r ON r.tenant_id = n.tenant_id AND r.task_id = n.task_id AND r.role = 'user'
    JOIN messages q ON q.position = r.position
    JOIN messages a ON a.position = n.position
  ORDER BY n.position`;

const END = `
  SELECT ${REPLY_COLUMNS} FROM messages a
  WHERE a.tenant_id = $1 AND a.sender_id = $2 AND a.message_id = $3 AND a.task_id = $4 AND a.recovery IS NOT NULL`;

type ReplyFields = {
  replyContent: ReplyRow["content"];
  replyMetadata: ReplyRow["metadata"];
  errorCode: string | null;
  replyRecovery: ReplyRow["recovery"];
  repliedAtMs: number;
};

/** What it is made of. */
export interface SqlTaskArchiveOptions {
  readonly client: SqlClient;
  /** Names this process among the backends. */
  readonly backendId: string;
  /** How long a backend may be silent; undefined where nobody else can use the database: then all others are gone. */
  readonly leaseMs: number | undefined;
}

/** See above. */
export class SqlTaskArchive implements TaskArchive {
  readonly #client: SqlClient;
  readonly #backendId: string;
  readonly #leaseMs: number | null;

  constructor({ client, backendId, leaseMs }: SqlTaskArchiveOptions) {
    this.#client = client;
    this.#backendId = backendId;
    this.#leaseMs = leaseMs ?? null;
  }

  async beat(): Promise<boolean> {
    const rows = await this.#client.query<{ silent: boolean }>(
      `WITH beat AS (
         INSERT INTO backends (id, seen_at) VALUES ($1, now()) ON CONFLICT (id) DO UPDATE SET seen_at = now()
       )
       SELECT EXISTS (
         SELECT 1 FROM backends
         WHERE id <> $1 AND ($2::float8 IS NULL OR seen_at <= now() - $2::float8 * interval '1 millisecond')
       ) AS silent`,
      [this.#backendId, this.#leaseMs],
    );
    return rows[0]?.silent ?? false;
  }

  async claimUnfinished(tasksMax: number): Promise<UnfinishedTask[]> {
    const rows = await this.#client.query<QuestionRow & { reserved: number; takeovers: number }>(CLAIM, [
      UNFINISHED_AGE_MS_MAX,
      this.#backendId,
      this.#leaseMs,
      tasksMax,
    ]);
    return rows.flatMap(({ reserved, takeovers, ...row }) => {
      const record = recordOfRow(row);
      return record ? [{ record, reservedSequence: reserved, takeovers }] : [];
    });
  }

  async forgetSilent(): Promise<void> {
    await this.#client.query(
      `WITH old AS (DELETE FROM task_claims WHERE changed_at < now() - $3::float8 * interval '1 millisecond')
       DELETE FROM backends
       WHERE id <> $1 AND ($2::float8 IS NULL OR seen_at <= now() - $2::float8 * interval '1 millisecond')`,
      [this.#backendId, this.#leaseMs, CLAIM_AGE_MS_MAX],
    );
  }

  async readFinished(): Promise<FinishedTask[]> {
    const rows = await this.#client.query<QuestionRow & ReplyFields>(FINISHED, [
      FINISHED_AGE_MS_MAX,
      FINISHED_MAX,
    ]);
    return rows.flatMap((row) => {
      const record = recordOfRow(row);
      return record ? [{ record, lastEvent: lastEventOfRow(record, replyRowOf(row)) }] : [];
    });
  }

  async findEnd(record: TaskRecord): Promise<A2AMessage | undefined> {
    const { id, tenantId, message } = record;
    const key = [tenantId, message.receiverId, replyIdOf(id), id];
    const [row] = await this.#client.query<ReplyFields>(END, key);
    return row && lastEventOfRow(record, replyRowOf(row));
  }

  async reserve({ tenantId, taskId }: TaskReference, reservedSequence: number): Promise<void> {
    await this.#client.query(
      `INSERT INTO task_claims AS c (tenant_id, task_id, backend_id, reserved_sequence, takeovers, changed_at)
       VALUES ($1, $2, $3, $4, 0, now())
       ON CONFLICT (tenant_id, task_id) DO UPDATE
         SET reserved_sequence = greatest(c.reserved_sequence, $4), changed_at = now() WHERE c.backend_id = $3`,
      [tenantId, taskId, this.#backendId, reservedSequence],
    );
  }

  async isOwn({ tenantId, taskId }: TaskReference, signal: AbortSignal): Promise<boolean> {
    const rows = await this.#client.query(
      "SELECT 1 FROM task_claims WHERE tenant_id = $1 AND task_id = $2 AND backend_id <> $3",
      [tenantId, taskId, this.#backendId],
      signal,
    );
    return rows.length === 0;
  }

  async leave(): Promise<void> {
    // As if it had been silent for ever: what it has not answered may be taken up at once.
    await this.#client.query("UPDATE backends SET seen_at = 'epoch' WHERE id = $1", [this.#backendId]);
  }
}

function replyRowOf(row: ReplyFields): ReplyRow {
  return {
    content: row.replyContent,
    metadata: row.replyMetadata,
    errorCode: row.errorCode,
    createdAtMs: row.repliedAtMs,
    recovery: row.replyRecovery,
  };
}
