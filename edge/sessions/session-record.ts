/** The one row that says what a session is: its id, whose it is, and when somebody was last there. */
import type { SqlStorage } from "@cloudflare/workers-types";
import type { SessionOwner } from "./session-owner.ts";

/** See above. */
export interface SessionRecord {
  readonly sessionId: string;
  readonly owner: SessionOwner;
  /** Unix epoch, milliseconds. */
  readonly seenAtMs: number;
}

/** Writes the row of a new session. */
export function addSessionRecord(sql: SqlStorage, { sessionId, owner, seenAtMs }: SessionRecord): void {
  sql.exec(
    "INSERT INTO session (id, session_id, owner, seen_at) VALUES (1, ?, ?, ?)",
    sessionId,
    JSON.stringify(owner),
    seenAtMs,
  );
}

/** Reads it. */
export function readSessionRecord(sql: SqlStorage): SessionRecord {
  const row = sql.exec<{ session_id: string; owner: string; seen_at: number }>("SELECT * FROM session").one();
  return { sessionId: row.session_id, owner: JSON.parse(row.owner), seenAtMs: row.seen_at };
}

/** The owner has another credential, other scopes or other limits. */
export function saveOwner(sql: SqlStorage, owner: SessionOwner): void {
  sql.exec("UPDATE session SET owner = ?", JSON.stringify(owner));
}

/** Somebody is there. */
export function touchSession(sql: SqlStorage, nowMs: number): void {
  sql.exec("UPDATE session SET seen_at = ?", nowMs);
}
