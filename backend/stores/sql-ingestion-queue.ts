/**
 * The table `knowledge_jobs`, as backends work through it: each step is run by one at a time, under a lease, and
 * never two steps of one document at once.
 */
import type { SqlClient } from "../../core/directory/sql-client.ts";
import type { DocumentState, IngestionStep } from "../knowledge/stored-document.ts";

/** A backend that does not say so for this long is taken for dead. */
export const LEASE_SECONDS = 60;
/** Finished steps are kept this long, so that their job can be looked at. */
const KEPT_DAYS = 7;
const DELETED_MAX = 1_000;
/** Collections of one answer: 100 kB. */
const COLLECTIONS_PAGE = 1_000;

/** A collection with the generation that is searched. */
export interface IndexedCollection {
  readonly tenantId: string;
  readonly collection: string;
  readonly generation: number;
}

/** What became of a document when a step is over. */
export interface DocumentOutcome {
  readonly state: DocumentState;
  readonly error?: string | undefined;
  readonly chunksCount: number;
}

const COLUMNS = `
  position::text AS position, tenant_id, collection, kind, coalesce(document_id, '') AS document_id,
  revision::text AS revision, generation, attempts`;

const IS_DUE = `
  ((s.state = 'pending' AND s.not_before <= now()) OR (s.state = 'running' AND s.lease_until < now()))`;

/**
 * A generation is active only when all of its documents are in, and dropped when nobody writes into the collection.
 * The tenant that was served last comes last, so that one with many documents does not keep the others waiting.
 */
const CLAIM = `
  UPDATE knowledge_jobs SET
    state = 'running', attempts = attempts + 1, lease_until = now() + ${LEASE_SECONDS} * interval '1 second'
   WHERE position = (
     SELECT s.position FROM knowledge_jobs s
      WHERE ${IS_DUE} AND NOT EXISTS (
        SELECT FROM knowledge_jobs o
         WHERE o.tenant_id = s.tenant_id AND o.collection = s.collection AND o.position <> s.position
           AND CASE s.kind
             WHEN 'activate' THEN o.generation = s.generation AND o.state IN ('pending', 'running')
             WHEN 'drop' THEN o.state = 'running' AND o.lease_until >= now()
             ELSE o.document_id = s.document_id AND o.state = 'running' AND o.lease_until >= now()
           END)
      ORDER BY (s.tenant_id = $1), s.position LIMIT 1 FOR UPDATE SKIP LOCKED)
  RETURNING ${COLUMNS}`;

/** Still ours only while the number of tries is the one that we began. */
const IS_OURS = "position = $1::bigint AND state = 'running' AND attempts = $2::int";

const RENEW = `
  UPDATE knowledge_jobs SET lease_until = now() + ${LEASE_SECONDS} * interval '1 second'
   WHERE ${IS_OURS} RETURNING 1 AS one`;

/** Changes a step that is ours and, when $3 names a state, its document, if that is still the version of the step. */
const changeStep = (assignments: string) => `
  WITH step AS (
    UPDATE knowledge_jobs SET lease_until = NULL, ${assignments} WHERE ${IS_OURS} RETURNING *
  ), marked AS (
    UPDATE knowledge_documents d SET state = $3, error = $4, chunks_count = $5::int
      FROM step
     WHERE $3::text IS NOT NULL AND d.tenant_id = step.tenant_id AND d.collection = step.collection
       AND d.id = step.document_id AND d.revision = step.revision)
  SELECT 1 AS one FROM step`;

const FINISH = changeStep("state = $6, error = $7, finished_at = now()");

const RETRY = changeStep(
  "state = 'pending', error = $6, not_before = now() + $7::float8 * interval '1 millisecond'",
);

/** A step that was begun and is given back does not count as a try. */
const RELEASE = `
  UPDATE knowledge_jobs SET state = 'pending', attempts = attempts - 1, lease_until = NULL WHERE ${IS_OURS}`;

const ENQUEUE_REBUILD = `
  WITH documents AS (
    INSERT INTO knowledge_jobs (tenant_id, job_id, collection, kind, document_id, generation)
    SELECT tenant_id, $3, collection, 'index', id, $4::int FROM knowledge_documents
     WHERE tenant_id = $1 AND collection = $2 AND NOT EXISTS (
       SELECT FROM knowledge_jobs WHERE tenant_id = $1 AND collection = $2 AND generation = $4::int AND kind = 'activate')
     ORDER BY id
  )
  INSERT INTO knowledge_jobs (tenant_id, job_id, collection, kind, generation)
  SELECT $1, $3, $2, 'activate', $4::int
   WHERE NOT EXISTS (
     SELECT FROM knowledge_jobs WHERE tenant_id = $1 AND collection = $2 AND generation = $4::int AND kind = 'activate')`;

/** What was queued for a generation that another one has replaced is not worth doing. */
const ENQUEUE_DROP = `
  WITH superseded AS (
    UPDATE knowledge_jobs SET state = 'superseded', finished_at = now()
     WHERE tenant_id = $1 AND collection = $2 AND generation = $4::int AND state = 'pending' AND kind <> 'drop'
  )
  INSERT INTO knowledge_jobs (tenant_id, job_id, collection, kind, generation) VALUES ($1, $3, $2, 'drop', $4::int)`;

/** A generation that was begun and whose documents were not queued, because a backend ended in between, counts too. */
const OUTDATED = `
  SELECT tenant_id, name FROM knowledge_collections c
   WHERE deleted_at IS NULL AND active_model <> $1
     AND NOT (building_model IS NOT DISTINCT FROM $1 AND EXISTS (
       SELECT FROM knowledge_jobs j
        WHERE j.tenant_id = c.tenant_id AND j.collection = c.name AND j.kind = 'activate'
          AND j.generation = c.building_generation))
     AND EXISTS (
       SELECT FROM knowledge_documents d WHERE d.tenant_id = c.tenant_id AND d.collection = c.name)
   ORDER BY tenant_id, name LIMIT ${COLLECTIONS_PAGE}`;

/** In the order of the table's key, so that the next page begins after the last row of this one. */
const INDEXED = `
  SELECT tenant_id AS "tenantId", name AS collection, active_generation AS generation FROM knowledge_collections c
   WHERE (tenant_id, name) > ($1, $2) AND deleted_at IS NULL AND EXISTS (
       SELECT FROM knowledge_documents d
        WHERE d.tenant_id = c.tenant_id AND d.collection = c.name AND d.chunks_count > 0)
     AND NOT EXISTS (
       SELECT FROM knowledge_jobs j
        WHERE j.tenant_id = c.tenant_id AND j.collection = c.name AND j.state IN ('pending', 'running'))
   ORDER BY tenant_id, name LIMIT ${COLLECTIONS_PAGE}`;

const DELETE_FINISHED = `
  DELETE FROM knowledge_jobs WHERE position IN (
    SELECT position FROM knowledge_jobs WHERE finished_at < now() - ${KEPT_DAYS} * interval '1 day'
     LIMIT ${DELETED_MAX} FOR UPDATE SKIP LOCKED)`;

interface StepRow {
  position: string;
  tenant_id: string;
  collection: string;
  kind: IngestionStep["kind"];
  document_id: string;
  revision: string | null;
  generation: number | null;
  attempts: number;
}

type Claimed = Pick<IngestionStep, "position" | "attempts">;

/** The queue. Every method fails with ParleyError `unavailable` when the database cannot be reached. */
export class SqlIngestionQueue {
  readonly #client: SqlClient;

  constructor(client: SqlClient) {
    this.#client = client;
  }

  /**
   * The next step that is due, under a lease; undefined when there is none. Cannot be given up half-way: the database
   * would go on, and the step be nobody's for as long as the lease.
   */
  async claim(lastTenantId: string): Promise<IngestionStep | undefined> {
    const [row] = await this.#client.query<StepRow>(CLAIM, [lastTenantId]);
    if (!row) return undefined;
    const { position, collection, kind, attempts } = row;
    return {
      position,
      tenantId: row.tenant_id,
      collection,
      kind,
      documentId: row.document_id,
      revision: row.revision ?? undefined,
      generation: row.generation ?? undefined,
      attempts,
    };
  }

  /** Whether the step is still ours; then for another {@link LEASE_SECONDS}. */
  async renew({ position, attempts }: Claimed, signal: AbortSignal): Promise<boolean> {
    return (await this.#client.query(RENEW, [position, attempts], signal)).length > 0;
  }

  /** Ends a step, and with it says what became of its document, if that is still the same version. */
  async finish(
    { position, attempts }: Claimed,
    state: "done" | "failed" | "superseded",
    { error, document }: { error?: string; document?: DocumentOutcome | undefined } = {},
    signal?: AbortSignal,
  ): Promise<void> {
    const step = [position, attempts, ...outcomeParams(document)];
    await this.#client.query(FINISH, [...step, state, error ?? null], signal);
  }

  /** Puts a step back, to be tried again after a while. */
  async retry(
    { position, attempts }: Claimed,
    { error, delayMs, document }: { error: string; delayMs: number; document?: DocumentOutcome | undefined },
    signal?: AbortSignal,
  ): Promise<void> {
    const step = [position, attempts, ...outcomeParams(document && { ...document, error })];
    await this.#client.query(RETRY, [...step, error, delayMs], signal);
  }

  /** Gives a step back at once, for another backend to take. */
  async release({ position, attempts }: Claimed): Promise<void> {
    await this.#client.query(RELEASE, [position, attempts]);
  }

  /** Queues every document of a collection for a generation, and its activation after them. Idempotent. */
  async enqueueRebuild(
    { tenantId, collection }: { tenantId: string; collection: string },
    generation: number,
    jobId: string,
    signal?: AbortSignal,
  ): Promise<void> {
    await this.#client.query(ENQUEUE_REBUILD, [tenantId, collection, jobId, generation], signal);
  }

  /** Queues the removal of a generation that is no longer used. */
  async enqueueDrop(
    { tenantId, collection }: { tenantId: string; collection: string },
    generation: number,
    jobId: string,
    signal?: AbortSignal,
  ): Promise<void> {
    await this.#client.query(ENQUEUE_DROP, [tenantId, collection, jobId, generation], signal);
  }

  /** Collections with documents that neither have nor get this embedding model. */
  async outdatedCollections(
    embeddingModel: string,
    signal: AbortSignal,
  ): Promise<{ tenantId: string; collection: string }[]> {
    type Row = { tenant_id: string; name: string };
    const rows = await this.#client.query<Row>(OUTDATED, [embeddingModel], signal);
    return rows.map(({ tenant_id, name }) => ({ tenantId: tenant_id, collection: name }));
  }

  /** Collections whose documents are in the index, as far as is known here, with nothing left to be done. */
  async *indexedCollections(signal: AbortSignal): AsyncGenerator<IndexedCollection> {
    let last: IndexedCollection | undefined;
    for (;;) {
      const after = [last?.tenantId ?? "", last?.collection ?? ""];
      const page = await this.#client.query<IndexedCollection>(INDEXED, after, signal);
      yield* page;
      if (page.length < COLLECTIONS_PAGE) return;
      last = page.at(-1);
    }
  }

  /** Forgets steps that were finished long ago, some of them at a time. */
  async deleteFinished(signal: AbortSignal): Promise<void> {
    await this.#client.query(DELETE_FINISHED, [], signal);
  }
}

function outcomeParams(document: DocumentOutcome | undefined) {
  return [document?.state ?? null, document?.error ?? null, document?.chunksCount ?? null];
}
