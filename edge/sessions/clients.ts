/**
 * The clients of one session (the tabs that share it): their tickets and resume tokens, of which only hashes are
 * stored, and what each of them has acknowledged. Two resume tokens are good at a time, the one that was used last and
 * the one that was offered for it; so an answer that got lost locks nobody out, and an old token is soon worth nothing.
 */
import type { SqlStorage } from "@cloudflare/workers-types";
import { equalInConstantTime } from "../../core/auth/api-key.ts";
import type { Clock } from "../../core/resilience/deadline.ts";
import { CLIENTS_MAX, type SessionTimings } from "./session-limits.ts";

/** What a new client is given, hashed. */
export interface NewClient {
  readonly clientId: string;
  /** Undefined for a client that opens its connection in the same step. */
  readonly ticketSha256: string | undefined;
  readonly resumeSha256: string;
  /** It has everything up to here. */
  readonly acknowledged: number;
}

type ClientRow = {
  client_id: string;
  ticket_sha256: string | null;
  ticket_expires_at: number;
  resume_sha256: string;
  next_sha256: string | null;
  resume_expires_at: number;
  acknowledged: number;
};

/** See above. */
export class Clients {
  readonly #sql: SqlStorage;
  readonly #now: Clock;
  readonly #timings: SessionTimings;
  /** What has been acknowledged and is not written yet, by client; what an eviction forgets is acknowledged again. */
  readonly #unwritten = new Map<string, number>();

  constructor(sql: SqlStorage, now: Clock, timings: SessionTimings) {
    this.#sql = sql;
    this.#now = now;
    this.#timings = timings;
  }

  /** Adds a client; past the limit, the one that is away longest is forgotten. */
  add({ clientId, ticketSha256, resumeSha256, acknowledged }: NewClient): void {
    const nowMs = this.#now();
    this.#sql.exec(
      `DELETE FROM clients WHERE connected = 0 AND client_id NOT IN (
        SELECT client_id FROM clients ORDER BY connected DESC, seen_at DESC LIMIT ?)`,
      CLIENTS_MAX - 1,
    );
    this.#sql.exec(
      `INSERT INTO clients (client_id, ticket_sha256, ticket_expires_at, resume_sha256, resume_expires_at,
        acknowledged, seen_at) VALUES (?, ?, ?, ?, ?, ?, ?)`,
      clientId,
      ticketSha256 ?? null,
      nowMs + this.#timings.ticketMs,
      resumeSha256,
      nowMs + this.#timings.idleMs,
      acknowledged,
      nowMs,
    );
  }

  /** Spends a client's ticket. False when it is another, has been spent or is too old. */
  spendTicket(clientId: string, sha256: string): boolean {
    const client = this.#find(clientId);
    const isGood =
      equalInConstantTime(client?.ticket_sha256 ?? "", sha256) &&
      this.#now() < (client?.ticket_expires_at ?? 0);
    if (isGood) this.#sql.exec("UPDATE clients SET ticket_sha256 = NULL WHERE client_id = ?", clientId);
    return isGood;
  }

  /** Uses a resume token; the one that was offered takes the place of the one before it. False when it is not good. */
  useResumeToken(clientId: string, sha256: string): boolean {
    const client = this.#find(clientId);
    if (!client || this.#now() >= client.resume_expires_at) return false;
    if (equalInConstantTime(client.resume_sha256, sha256)) return true;
    if (!equalInConstantTime(client.next_sha256 ?? "", sha256)) return false;
    this.#sql.exec(
      "UPDATE clients SET resume_sha256 = next_sha256, next_sha256 = NULL WHERE client_id = ?",
      clientId,
    );
    return true;
  }

  /** A client's connection is open, and has been offered a new resume token. */
  connected(clientId: string, nextSha256: string): void {
    const nowMs = this.#now();
    this.#sql.exec(
      `UPDATE clients SET connected = 1, seen_at = ?, next_sha256 = ?, resume_expires_at = ?, ticket_sha256 = NULL
        WHERE client_id = ?`,
      nowMs,
      nextSha256,
      nowMs + this.#timings.idleMs,
      clientId,
    );
  }

  /** A client's connection is gone. */
  disconnected(clientId: string): void {
    this.#sql.exec(
      "UPDATE clients SET connected = 0, seen_at = ? WHERE client_id = ?",
      this.#now(),
      clientId,
    );
  }

  /** The clients whose connections were open when this was last written. */
  connectedIds(): string[] {
    const rows = this.#sql.exec<{ client_id: string }>("SELECT client_id FROM clients WHERE connected = 1");
    return rows.toArray().map(({ client_id }) => client_id);
  }

  /** What a client has acknowledged; 0 for one that is not known. */
  acknowledgedBy(clientId: string): number {
    return Math.max(this.#find(clientId)?.acknowledged ?? 0, this.#unwritten.get(clientId) ?? 0);
  }

  /** A client has everything up to a number. It counts when it has been written, which is for the caller to decide. */
  acknowledge(clientId: string, through: number): void {
    this.#unwritten.set(clientId, Math.max(through, this.#unwritten.get(clientId) ?? 0));
  }

  /** Writes what has been acknowledged; false when there was nothing to write. */
  writeAcknowledged(): boolean {
    for (const [clientId, through] of this.#unwritten) {
      this.#sql.exec(
        "UPDATE clients SET acknowledged = ? WHERE client_id = ? AND acknowledged < ?",
        through,
        clientId,
        through,
      );
    }
    const wasAny = this.#unwritten.size > 0;
    this.#unwritten.clear();
    return wasAny;
  }

  /** What every client has that is connected or was lately; undefined when there is no such client. */
  acknowledgedByAll(): number | undefined {
    const row = this.#sql.exec<{ acknowledged: number | null }>(
      "SELECT MIN(acknowledged) AS acknowledged FROM clients WHERE connected = 1 OR seen_at > ?",
      this.#now() - this.#timings.clientAwayMs,
    );
    return row.one().acknowledged ?? undefined;
  }

  #find(clientId: string): ClientRow | undefined {
    return this.#sql.exec<ClientRow>("SELECT * FROM clients WHERE client_id = ?", clientId).toArray()[0];
  }
}
