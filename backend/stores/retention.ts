/**
 * Deletes what tenants do not want kept any longer, a little at a time, on start and about every hour. Any number
 * of backends may do so at once: each skips the rows that another one is deleting.
 */
import type { SqlClient } from "../../core/directory/sql-client.ts";
import { sleep } from "../../core/resilience/full-jitter.ts";

/** Deleted by one statement: some milliseconds, for which nothing that arrives has to wait. */
const BATCH_ROWS_MAX = 500;
/** Between batches, so that the log's own writes come first. */
const BATCH_PAUSE_MS = 50;
const INTERVAL_MS = 3_600_000;
/** Up to this much is added to every wait, so that backends started together spread out. */
const INTERVAL_JITTER_MS = 600_000;
const START_JITTER_MS = 30_000;

/** The tables that retention applies to: closed set, its names stand in statements. */
const TABLES = ["messages", "model_attempts"] as const;
type Table = (typeof TABLES)[number];

const FIND_TENANTS = `SELECT id FROM tenants WHERE retention_days IS NOT NULL ORDER BY id COLLATE "C"`;

/** The limit is read with the rows: a tenant that has just extended its retention loses nothing more. */
const deleteBatch = (table: Table) => `
  WITH old AS (
    SELECT position FROM ${table}
     WHERE tenant_id = $1 AND created_at < (
       SELECT to_timestamp($2::float8 / 1000) - retention_days * interval '1 day' FROM tenants WHERE id = $1
     )
     ORDER BY created_at
     LIMIT ${BATCH_ROWS_MAX}
     FOR UPDATE SKIP LOCKED
  ), deleted AS (
    DELETE FROM ${table} USING old WHERE ${table}.position = old.position RETURNING 1
  )
  SELECT count(*)::int AS count FROM deleted`;

/** What the job touches, and who hears of it. */
export interface RetentionOptions {
  readonly client: SqlClient;
  /** Unix epoch, milliseconds. */
  readonly now: () => number;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  /** After a run that deleted rows. */
  readonly onDeleted: (deleted: Record<Table, number>) => void;
  /** A run failed; the next one is an hour later. */
  readonly onFailure: (error: unknown) => void;
  /** Default: {@link sleep}. */
  readonly sleep?: (delayMs: number, signal: AbortSignal) => Promise<void>;
}

/** The job that applies `tenants.retention_days`; a tenant without it keeps everything. */
export class Retention {
  readonly #options: RetentionOptions;
  readonly #stop = new AbortController();
  #running: Promise<void> | undefined;

  constructor(options: RetentionOptions) {
    this.#options = options;
  }

  /** Begins, some seconds from now. Idempotent. */
  start(): void {
    this.#running ??= this.#runForever();
  }

  /** Ends it after the statement under way. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  /** One run. Rejects with ParleyError when the database fails; what is deleted by then stays deleted. */
  async runOnce(): Promise<Record<Table, number>> {
    const { client } = this.#options;
    const { signal } = this.#stop;
    const deleted = { messages: 0, model_attempts: 0 };
    const tenants = await client.query<{ id: string }>(FIND_TENANTS, [], signal);
    for (const { id } of tenants) {
      for (const table of TABLES) deleted[table] += await this.#deleteOld(table, id);
    }
    return deleted;
  }

  async #deleteOld(table: Table, tenantId: string): Promise<number> {
    const { client, now } = this.#options;
    const { signal } = this.#stop;
    let total = 0;
    for (;;) {
      const [row] = await client.query<{ count: number }>(deleteBatch(table), [tenantId, now()], signal);
      const count = row?.count ?? 0;
      total += count;
      if (count < BATCH_ROWS_MAX) return total;
      await this.#sleep(BATCH_PAUSE_MS);
    }
  }

  async #runForever(): Promise<void> {
    const { random, onDeleted, onFailure } = this.#options;
    const { signal } = this.#stop;
    let delayMs = random() * START_JITTER_MS;
    while (await this.#hasSlept(delayMs)) {
      try {
        const deleted = await this.runOnce();
        if (deleted.messages + deleted.model_attempts > 0) onDeleted(deleted);
      } catch (error) {
        if (!signal.aborted) onFailure(error);
      }
      delayMs = INTERVAL_MS + random() * INTERVAL_JITTER_MS;
    }
  }

  /** False when the job was stopped instead. */
  #hasSlept(delayMs: number): Promise<boolean> {
    return this.#sleep(delayMs).then(
      () => !this.#stop.signal.aborted,
      () => false,
    );
  }

  #sleep(delayMs: number): Promise<void> {
    return (this.#options.sleep ?? sleep)(delayMs, this.#stop.signal);
  }
}
