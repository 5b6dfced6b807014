/** The tables of one session, in its object's own SQLite. There are none until the session has been created. */
import type { SqlStorage } from "@cloudflare/workers-types";

/** Added later: sessions that were begun before have none of them. */
const PARTS = `
  CREATE TABLE IF NOT EXISTS frame_parts (
    last INTEGER NOT NULL,
    part INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (last, part)
  );
  CREATE TABLE IF NOT EXISTS turn_parts (
    message_id TEXT NOT NULL,
    part INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (message_id, part)
  );`;

/** Brings the tables of a session that was begun by an earlier release up to date; mostly there is nothing to do. */
export function upgradeSessionTables(sql: SqlStorage): void {
  sql.exec(PARTS);
}

/** Makes the tables of a new session. */
export function createSessionTables(sql: SqlStorage): void {
  sql.exec(`
    CREATE TABLE session (
      id INTEGER PRIMARY KEY CHECK (id = 1),
      session_id TEXT NOT NULL,
      owner TEXT NOT NULL,
      seen_at INTEGER NOT NULL,
      head INTEGER NOT NULL DEFAULT 0,
      log_owner TEXT
    );
    CREATE TABLE frames (
      last INTEGER PRIMARY KEY,
      first INTEGER NOT NULL,
      body TEXT NOT NULL,
      bytes INTEGER NOT NULL,
      saved_at INTEGER NOT NULL
    );
    CREATE TABLE turns (
      message_id TEXT PRIMARY KEY,
      fingerprint TEXT NOT NULL,
      context_id TEXT NOT NULL,
      task_id TEXT NOT NULL DEFAULT '',
      task_sequence INTEGER NOT NULL DEFAULT 0,
      first INTEGER,
      last INTEGER,
      ended INTEGER NOT NULL DEFAULT 0,
      started_at INTEGER NOT NULL,
      request TEXT
    );
    CREATE INDEX turns_by_start ON turns (started_at);
    CREATE TABLE deliveries (
      sequence INTEGER PRIMARY KEY,
      last INTEGER NOT NULL
    );
    CREATE TABLE clients (
      client_id TEXT PRIMARY KEY,
      ticket_sha256 TEXT,
      ticket_expires_at INTEGER NOT NULL DEFAULT 0,
      resume_sha256 TEXT NOT NULL,
      next_sha256 TEXT,
      resume_expires_at INTEGER NOT NULL,
      acknowledged INTEGER NOT NULL,
      connected INTEGER NOT NULL DEFAULT 0,
      seen_at INTEGER NOT NULL
    );
  `);
  upgradeSessionTables(sql);
}

/** Whether the tables are there; looking writes nothing, so that guessed names leave no trace. */
export function hasSessionTables(sql: SqlStorage): boolean {
  return (
    sql.exec("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'session'").toArray().length > 0
  );
}
