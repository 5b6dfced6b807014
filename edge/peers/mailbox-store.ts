/** The messages of one peer's mailbox, in its object's SQLite: in order of arrival, each once, until they have ended. */
import type { SqlStorage } from "@cloudflare/workers-types";
import type { PeerTaskContext } from "./peer-task.ts";

/** A message, and what has become of it. */
export interface MailboxEntry extends PeerTaskContext {
  /** Its place in the mailbox. */
  readonly sequence: number;
  readonly subject: string;
  readonly fingerprint: string;
  /** ProtoJSON; empty once the peer has it. */
  readonly text: string;
  readonly hops: number;
  /** The session that is told of events; empty when none is. */
  readonly sessionId: string;
  readonly expiresAtMs: number;
  /** Events so far, ProtoJSON. */
  readonly events: readonly string[];
  /** How many of them the session has been told. */
  readonly told: number;
  readonly ended: boolean;
  /** The attachment that was handed it last. */
  readonly handedTo: number;
}

/** A message that has just come. */
export type NewMailboxEntry = Omit<
  MailboxEntry,
  "sequence" | "peerId" | "events" | "told" | "ended" | "handedTo"
>;

type EntryRow = {
  sequence: number;
  task_id: string;
  message_id: string;
  sender_id: string;
  context_id: string;
  subject: string;
  fingerprint: string;
  text: string;
  hops: number;
  session_id: string;
  expires_at: number;
  events: string;
  told: number;
  ended: number;
  handed_to: number;
};

/** Whose mailbox it is, and which sessions the peer has. */
export interface MailboxState {
  tenantId: string;
  peerId: string;
  /** Connected ones; messages go to the last. */
  sessionIds: readonly string[];
  /** Counts attachments, from 1. */
  attachment: number;
}

/** See above. Until it has been created it is empty, and reading it leaves no trace: task ids can be made up. */
export class MailboxStore {
  readonly #sql: SqlStorage;
  #exists: boolean;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
    const tables = sql.exec("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'mailbox'");
    this.#exists = tables.toArray().length > 0;
  }

  /** Whether anything has ever been kept here. */
  get exists(): boolean {
    return this.#exists;
  }

  /** Makes the tables, once. */
  create(): void {
    if (this.#exists) return;
    this.#exists = true;
    this.#sql.exec(`
      CREATE TABLE IF NOT EXISTS mailbox (id INTEGER PRIMARY KEY CHECK (id = 1), state TEXT NOT NULL);
      CREATE TABLE IF NOT EXISTS entries (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        task_id TEXT NOT NULL UNIQUE,
        message_id TEXT NOT NULL,
        sender_id TEXT NOT NULL,
        context_id TEXT NOT NULL,
        subject TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        text TEXT NOT NULL,
        hops INTEGER NOT NULL,
        session_id TEXT NOT NULL,
        expires_at INTEGER NOT NULL,
        events TEXT NOT NULL DEFAULT '[]',
        -- The first event is the answer to the message itself.
        told INTEGER NOT NULL DEFAULT 1,
        ended INTEGER NOT NULL DEFAULT 0,
        ended_at INTEGER,
        reply_id TEXT,
        handed_to INTEGER NOT NULL DEFAULT 0,
        UNIQUE (sender_id, message_id)
      );
      CREATE INDEX IF NOT EXISTS entries_waiting ON entries (sequence) WHERE text <> '';
      CREATE INDEX IF NOT EXISTS entries_by_expiry ON entries (expires_at) WHERE ended = 0;
      CREATE INDEX IF NOT EXISTS entries_by_reply ON entries (reply_id);
    `);
  }

  /** Undefined in a mailbox that nobody has used. */
  state(): MailboxState | undefined {
    if (!this.#exists) return undefined;
    const row = this.#sql.exec<{ state: string }>("SELECT state FROM mailbox").toArray()[0];
    return row && (JSON.parse(row.state) as MailboxState);
  }

  saveState(state: MailboxState): void {
    this.#sql.exec("INSERT OR REPLACE INTO mailbox VALUES (1, ?)", JSON.stringify(state));
  }

  /** Adds a message; returns it with its place. */
  add(entry: NewMailboxEntry): MailboxEntry {
    this.#sql.exec(
      `INSERT INTO entries (task_id, message_id, sender_id, context_id, subject, fingerprint, text, hops, session_id,
        expires_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      entry.taskId,
      entry.messageId,
      entry.senderId,
      entry.contextId,
      entry.subject,
      entry.fingerprint,
      entry.text,
      entry.hops,
      entry.sessionId,
      entry.expiresAtMs,
    );
    const added = this.findTask(entry.taskId);
    if (!added) throw new Error("a message was added to a mailbox and is not there");
    return added;
  }

  findTask(taskId: string): MailboxEntry | undefined {
    return this.#find("task_id = ?", taskId)[0];
  }

  findMessage(senderId: string, messageId: string): MailboxEntry | undefined {
    return this.#find("sender_id = ? AND message_id = ?", senderId, messageId)[0];
  }

  findReplied(replyId: string): MailboxEntry | undefined {
    return this.#find("reply_id = ?", replyId)[0];
  }

  findSequence(sequence: number): MailboxEntry | undefined {
    return this.#find("sequence = ?", sequence)[0];
  }

  /** The messages that the peer has not acknowledged, oldest first. */
  waiting(countMax: number): MailboxEntry[] {
    return this.#find("text <> '' ORDER BY sequence LIMIT ?", countMax);
  }

  /** How much waits. */
  waitingTotal(): { count: number; bytes: number } {
    const row = this.#sql.exec<{ count: number; bytes: number | null }>(
      "SELECT COUNT(*) AS count, SUM(LENGTH(text)) AS bytes FROM entries WHERE text <> ''",
    );
    const { count, bytes } = row.one();
    return { count, bytes: bytes ?? 0 };
  }

  /** Messages that have not ended. */
  openCount(): number {
    return this.#sql.exec<{ count: number }>("SELECT COUNT(*) AS count FROM entries WHERE ended = 0").one()
      .count;
  }

  /** The oldest message that the peer has and has not answered. */
  oldestDelivered(): MailboxEntry | undefined {
    return this.#find("ended = 0 AND text = '' ORDER BY sequence LIMIT 1")[0];
  }

  /** Messages whose time is up. */
  expired(nowMs: number, countMax: number): MailboxEntry[] {
    return this.#find("ended = 0 AND expires_at <= ? ORDER BY expires_at LIMIT ?", nowMs, countMax);
  }

  /** When the next message's time is up. */
  nextExpiryMs(): number | undefined {
    if (!this.#exists) return undefined;
    const row = this.#sql.exec<{ at: number | null }>(
      "SELECT MIN(expires_at) AS at FROM entries WHERE ended = 0",
    );
    return row.one().at ?? undefined;
  }

  /** Messages with events that their sender's session has not been told. */
  untold(countMax: number): MailboxEntry[] {
    return this.#find(
      "session_id <> '' AND told < json_array_length(events) ORDER BY sequence LIMIT ?",
      countMax,
    );
  }

  /** The next event of a message. */
  addEvent(entry: MailboxEntry, event: string): void {
    const events = JSON.stringify([...entry.events, event]);
    this.#sql.exec("UPDATE entries SET events = ? WHERE sequence = ?", events, entry.sequence);
  }

  /** It has ended; with the id of the reply, when it was one. */
  end(sequence: number, nowMs: number, replyId: string | undefined): void {
    this.#sql.exec(
      "UPDATE entries SET ended = 1, text = '', ended_at = ?, reply_id = ? WHERE sequence = ?",
      nowMs,
      replyId ?? null,
      sequence,
    );
  }

  /** The peer has it. */
  acknowledged(sequence: number): void {
    this.#sql.exec("UPDATE entries SET text = '' WHERE sequence = ?", sequence);
  }

  handed(sequence: number, attachment: number): void {
    this.#sql.exec("UPDATE entries SET handed_to = ? WHERE sequence = ?", attachment, sequence);
  }

  /** The sender's session has been told so many events; or is not to be told any more. */
  told(sequence: number, count: number, sessionId: string): void {
    this.#sql.exec(
      "UPDATE entries SET told = ?, session_id = ? WHERE sequence = ?",
      count,
      sessionId,
      sequence,
    );
  }

  /** Forgets what has ended long ago, and more than is kept. */
  forget(endedBeforeMs: number, endedKeptMax: number): void {
    this.#sql.exec("DELETE FROM entries WHERE ended = 1 AND ended_at < ?", endedBeforeMs);
    this.#sql.exec(
      `DELETE FROM entries WHERE ended = 1 AND sequence NOT IN (
        SELECT sequence FROM entries WHERE ended = 1 ORDER BY sequence DESC LIMIT ?)`,
      endedKeptMax,
    );
  }

  /** Messages that have ended and are kept. */
  endedCount(): number {
    return this.#sql.exec<{ count: number }>("SELECT COUNT(*) AS count FROM entries WHERE ended = 1").one()
      .count;
  }

  isEmpty(): boolean {
    if (!this.#exists) return true;
    return this.#sql.exec("SELECT 1 FROM entries LIMIT 1").toArray().length === 0;
  }

  #find(condition: string, ...values: (string | number)[]): MailboxEntry[] {
    if (!this.#exists) return [];
    const rows = this.#sql.exec<EntryRow>(`SELECT * FROM entries WHERE ${condition}`, ...values).toArray();
    const peerId = this.state()?.peerId ?? "";
    return rows.map((row) => ({
      sequence: row.sequence,
      taskId: row.task_id,
      messageId: row.message_id,
      senderId: row.sender_id,
      peerId,
      contextId: row.context_id,
      subject: row.subject,
      fingerprint: row.fingerprint,
      text: row.text,
      hops: row.hops,
      sessionId: row.session_id,
      expiresAtMs: row.expires_at,
      events: JSON.parse(row.events) as string[],
      told: row.told,
      ended: row.ended === 1,
      handedTo: row.handed_to,
    }));
  }
}
