/**
 * The turns of one session: messages that were taken, and how far their replies are saved. Turns that have ended are
 * kept a while, so that a message that comes again is recognised, and a client that is too far behind can be told
 * which tasks to re-read.
 */
import type { SqlStorage } from "@cloudflare/workers-types";
import type { Frame } from "./frame.ts";
import { joinParts, partsOf } from "./row-parts.ts";
import { TURNS_KEPT_MAX } from "./session-limits.ts";

/** What is needed to ask for a reply again after an eviction. */
export interface TurnRequest {
  /** ProtoJSON of the message, admitted. */
  readonly message: string;
  readonly requestId: string;
  readonly traceparent: string;
  /** Unix epoch, milliseconds. */
  readonly deadlineAtMs: number;
}

/** A turn that is being answered, as far as it is saved. */
export interface TurnRecord extends TurnRequest {
  readonly messageId: string;
  readonly contextId: string;
  /** Empty until an event that names it is saved. */
  readonly taskId: string;
  /** The task's last event that is saved. */
  readonly taskSequence: number;
  readonly startedAtMs: number;
}

/** A turn as clients are told of it. */
export type TurnSummary = {
  messageId: string;
  taskId: string;
  contextId: string;
  ended: boolean;
};

type TurnRow = {
  message_id: string;
  fingerprint: string;
  context_id: string;
  task_id: string;
  task_sequence: number;
  ended: number;
  started_at: number;
  request: string | null;
};

/** A turn that nobody follows from here: a mailbox tells what becomes of it. Neither 0, under way, nor 1, ended. */
const TOLD = 2;

/** See above. */
export class TurnStore {
  readonly #sql: SqlStorage;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
  }

  /** Takes a message; its id must be new. */
  add(turn: TurnRecord, fingerprint: string): void {
    const { messageId, contextId, startedAtMs, message, requestId, traceparent, deadlineAtMs } = turn;
    const request: Omit<TurnRequest, "message"> = { requestId, traceparent, deadlineAtMs };
    this.#sql.exec(
      "INSERT INTO turns (message_id, fingerprint, context_id, started_at, request) VALUES (?, ?, ?, ?, ?)",
      messageId,
      fingerprint,
      contextId,
      startedAtMs,
      JSON.stringify(request),
    );
    for (const [part, text] of partsOf(message).entries()) {
      this.#sql.exec("INSERT INTO turn_parts VALUES (?, ?, ?)", messageId, part, text);
    }
    this.#forget();
  }

  /** Takes a message that a peer answers; adds nothing when it is there. */
  addTold(turn: Pick<TurnRecord, "messageId" | "contextId" | "startedAtMs">, fingerprint: string): void {
    this.#sql.exec(
      `INSERT INTO turns (message_id, fingerprint, context_id, started_at, ended) VALUES (?, ?, ?, ?, ?)
        ON CONFLICT (message_id) DO UPDATE SET fingerprint = excluded.fingerprint WHERE turns.fingerprint = ''`,
      turn.messageId,
      fingerprint,
      turn.contextId,
      turn.startedAtMs,
      TOLD,
    );
    this.#forget();
  }

  /** The last event of a turn's task that is saved; 0 for none. */
  taskSequenceOf(messageId: string): number {
    const rows = this.#sql.exec<{ task_sequence: number }>(
      "SELECT task_sequence FROM turns WHERE message_id = ?",
      messageId,
    );
    return rows.toArray()[0]?.task_sequence ?? 0;
  }

  /** Saves how far a turn has come, by frames of it that are being saved. */
  progress(messageId: string, frames: readonly Frame[]): void {
    const ofTurn = frames.filter(({ envelope }) => envelope["inReplyTo"] === messageId);
    const first = ofTurn[0];
    const last = ofTurn.at(-1);
    if (!first || !last) return;
    const { taskId, contextId, sequence } = last.envelope;
    this.#sql.exec(
      `UPDATE turns SET first = COALESCE(first, ?), last = ?, task_sequence = ?, task_id = ?,
        context_id = CASE WHEN ? = '' THEN context_id ELSE ? END
        WHERE message_id = ?`,
      first.first,
      last.last,
      typeof sequence === "number" ? sequence : 0,
      typeof taskId === "string" ? taskId : "",
      typeof contextId === "string" ? contextId : "",
      typeof contextId === "string" ? contextId : "",
      messageId,
    );
  }

  /** A turn has ended; what it was asked is forgotten. */
  end(messageId: string): void {
    this.#sql.exec("UPDATE turns SET ended = 1, request = NULL WHERE message_id = ?", messageId);
    this.#sql.exec("DELETE FROM turn_parts WHERE message_id = ?", messageId);
  }

  /** The turns that are being answered, in the order in which they were taken. */
  underWay(): TurnRecord[] {
    const rows = this.#sql.exec<TurnRow>("SELECT * FROM turns WHERE ended = 0 ORDER BY started_at, rowid");
    return rows.toArray().map((row) => {
      const request = JSON.parse(row.request ?? "{}") as TurnRequest;
      return {
        ...request,
        // An earlier release kept it in the request.
        message: request.message ?? this.#messageOf(row.message_id),
        messageId: row.message_id,
        contextId: row.context_id,
        taskId: row.task_id,
        taskSequence: row.task_sequence,
        startedAtMs: row.started_at,
      };
    });
  }

  #messageOf(messageId: string): string {
    const rows = this.#sql.exec<{ body: string }>(
      "SELECT body FROM turn_parts WHERE message_id = ? ORDER BY part",
      messageId,
    );
    return joinParts(rows);
  }

  /** All but the newest of those that nobody follows from here; what is told of a forgotten one adds it again. */
  #forget(): void {
    this.#sql.exec(
      `DELETE FROM turns WHERE ended <> 0 AND message_id NOT IN (
        SELECT message_id FROM turns ORDER BY started_at DESC, rowid DESC LIMIT ?)`,
      TURNS_KEPT_MAX,
    );
  }

  /** The turn of a message id, if it is remembered. */
  find(messageId: string): (TurnSummary & { fingerprint: string }) | undefined {
    const rows = this.#sql.exec<TurnRow>("SELECT * FROM turns WHERE message_id = ?", messageId);
    return rows.toArray().map((row) => ({ ...summaryOf(row), fingerprint: row.fingerprint }))[0];
  }

  /** The turn of a message id, as clients are told of it; none when it is not remembered. */
  summaryOf(messageId: string): TurnSummary[] {
    const turn = this.find(messageId);
    if (!turn) return [];
    const { fingerprint: _, ...summary } = turn;
    return [summary];
  }

  /** The turns with events among some numbers. */
  among(from: number, to: number): TurnSummary[] {
    const rows = this.#sql.exec<TurnRow>(
      "SELECT * FROM turns WHERE first <= ? AND last >= ? AND task_id <> '' ORDER BY first",
      to,
      from,
    );
    return rows.toArray().map(summaryOf);
  }
}

function summaryOf({ message_id, task_id, context_id, ended }: TurnRow): TurnSummary {
  return { messageId: message_id, taskId: task_id, contextId: context_id, ended: ended === 1 };
}
