/**
 * The tables `knowledge_documents` and `knowledge_jobs`, as requests change and read them: each change is one
 * statement with the steps that it makes necessary and its row in the audit log, so that none is without the others.
 */
import { type Actor, actorParams, auditInsert, epochMs } from "../../core/administration/actor.ts";
import type { SqlClient } from "../../core/directory/sql-client.ts";
import type { Metadata } from "../knowledge/chunk.ts";
import type {
  DocumentKey,
  DocumentState,
  DocumentVersion,
  JobProgress,
  NewDocument,
  StoredDocument,
} from "../knowledge/stored-document.ts";

/** What a change is made for: who, and the job that its steps belong to. */
export interface ChangeContext {
  readonly actor: Actor;
  readonly jobId: string;
  readonly signal: AbortSignal;
}

/** Problems listed of one job; the documents have the others. */
const PROBLEMS_MAX = 20;

const COLUMNS = `
  tenant_id, collection, id, title, media_type, content_hash, size_bytes, metadata, state, error, chunks_count,
  ${epochMs("created_at")} AS created_at_ms, ${epochMs("updated_at")} AS updated_at_ms`;

const IS_DOCUMENT = "tenant_id = $1 AND collection = $6 AND document_id = $7";

/** Steps for versions that are no more need not be taken; those of a generation are for whatever version there is. */
const SUPERSEDE = `
  UPDATE knowledge_jobs SET state = 'superseded', finished_at = now()
   WHERE ${IS_DOCUMENT} AND state = 'pending' AND generation IS NULL AND EXISTS (SELECT FROM changed)`;

const PUT = `
  WITH changed AS (
    INSERT INTO knowledge_documents AS d
      (tenant_id, collection, id, title, media_type, content_hash, size_bytes, metadata, format, text)
    VALUES ($1, $6, $7, $9, $10, $11, $12::int, $13::jsonb, $14, $15)
    ON CONFLICT (tenant_id, collection, id) DO UPDATE SET
      revision = nextval('knowledge_revisions'), title = excluded.title, media_type = excluded.media_type,
      content_hash = excluded.content_hash, size_bytes = excluded.size_bytes, metadata = excluded.metadata,
      format = excluded.format, text = excluded.text, state = 'pending', error = NULL, updated_at = now()
    WHERE d.content_hash <> excluded.content_hash OR d.state = 'failed'
    RETURNING *
  ), superseded AS (${SUPERSEDE}), queued AS (
    INSERT INTO knowledge_jobs (tenant_id, job_id, collection, kind, document_id, revision)
    SELECT tenant_id, $8, collection, 'index', id, revision FROM changed
  ), audited AS (${audit("document.put", "jsonb_build_object('contentHash', content_hash, 'bytes', size_bytes)")})
  SELECT ${COLUMNS} FROM changed`;

const DELETE = `
  WITH changed AS (
    DELETE FROM knowledge_documents WHERE tenant_id = $1 AND collection = $6 AND id = $7 RETURNING *
  ), superseded AS (${SUPERSEDE}), queued AS (
    INSERT INTO knowledge_jobs (tenant_id, job_id, collection, kind, document_id)
    SELECT tenant_id, $8, collection, 'remove', id FROM changed
  ), audited AS (${audit("document.delete", "jsonb_build_object('contentHash', content_hash)")})
  SELECT id FROM changed`;

const DELETE_COLLECTION = `
  WITH changed AS (
    UPDATE knowledge_collections SET deleted_at = now()
     WHERE tenant_id = $1 AND name = $6 AND deleted_at IS NULL
    RETURNING *
  ), documents AS (
    DELETE FROM knowledge_documents WHERE tenant_id = $1 AND collection = $6 AND EXISTS (SELECT FROM changed)
    RETURNING 1
  ), superseded AS (
    UPDATE knowledge_jobs SET state = 'superseded', finished_at = now()
     WHERE tenant_id = $1 AND collection = $6 AND state = 'pending' AND kind <> 'drop'
       AND EXISTS (SELECT FROM changed)
  ), queued AS (
    INSERT INTO knowledge_jobs (tenant_id, job_id, collection, kind, generation)
    SELECT c.tenant_id, $7, c.name, 'drop', g.generation
      FROM changed c, unnest(ARRAY[c.active_generation, c.building_generation]) AS g (generation)
     WHERE g.generation IS NOT NULL
  ), audited AS (${auditInsert({
    from: "changed",
    action: "collection.delete",
    targetKind: "collection",
    targetId: "name",
    details: "jsonb_build_object('documents', (SELECT count(*) FROM documents))",
  })})
  SELECT name FROM changed`;

const FIND = `SELECT ${COLUMNS} FROM knowledge_documents WHERE tenant_id = $1 AND collection = $2 AND id = $3`;

const FIND_VERSION = `
  SELECT title, media_type, metadata, format, text FROM knowledge_documents
   WHERE tenant_id = $1 AND collection = $2 AND id = $3 AND ($4::bigint IS NULL OR revision = $4::bigint)`;

const FIND_HASHES = `
  SELECT id, content_hash FROM knowledge_documents
   WHERE tenant_id = $1 AND collection = $2 AND id = ANY($3::text[]) AND state <> 'failed'`;

const LIST = `
  SELECT ${COLUMNS} FROM knowledge_documents
   WHERE tenant_id = $1 AND collection = $2 AND id COLLATE "C" > $3 ORDER BY id COLLATE "C" LIMIT $4::int`;

const COUNT = `
  SELECT (SELECT count(*)::int FROM knowledge_documents WHERE tenant_id = $1 AND collection = $2) AS documents,
         (SELECT count(*)::int FROM knowledge_jobs
           WHERE tenant_id = $1 AND state IN ('pending', 'running')) AS steps`;

const FIND_JOB = `
  SELECT min(collection) AS collection, count(*)::int AS total,
         count(*) FILTER (WHERE state IN ('done', 'superseded'))::int AS done,
         count(*) FILTER (WHERE state = 'failed')::int AS failed,
         (${epochMs("min(created_at)")}) AS created_at_ms, (${epochMs("max(finished_at)")}) AS finished_at_ms
    FROM knowledge_jobs WHERE tenant_id = $1 AND job_id = $2 AND collection = $3`;

const FIND_PROBLEMS = `
  SELECT coalesce(document_id, '') AS document_id, error FROM knowledge_jobs
   WHERE tenant_id = $1 AND job_id = $2 AND error IS NOT NULL AND state IN ('pending', 'running', 'failed')
   ORDER BY position LIMIT ${PROBLEMS_MAX}`;

interface DocumentRow {
  tenant_id: string;
  collection: string;
  id: string;
  title: string;
  media_type: string;
  content_hash: string;
  size_bytes: number;
  metadata: Metadata;
  state: DocumentState;
  error: string | null;
  chunks_count: number;
  created_at_ms: number;
  updated_at_ms: number;
}

interface JobRow {
  collection: string;
  total: number;
  done: number;
  failed: number;
  created_at_ms: number;
  finished_at_ms: number | null;
}

/** Documents and jobs. Every method fails with ParleyError `unavailable` when the database cannot be reached. */
export class SqlDocumentStore {
  readonly #client: SqlClient;

  constructor(client: SqlClient) {
    this.#client = client;
  }

  /** The document as it is now; undefined when this version of it was there already, and nothing was done. */
  async put(
    document: NewDocument,
    { actor, jobId, signal }: ChangeContext,
  ): Promise<StoredDocument | undefined> {
    const { collection, id, title, mediaType, contentHash, sizeBytes, metadata, format, text } = document;
    const own = [collection, id, jobId, title, mediaType, contentHash, sizeBytes, JSON.stringify(metadata)];
    const params = [...actorParams(actor), ...own, format, text];
    const [row] = await this.#client.query<DocumentRow>(PUT, params, signal);
    return row && storedDocument(row);
  }

  /** Whether there was such a document. */
  async delete(collection: string, id: string, { actor, jobId, signal }: ChangeContext): Promise<boolean> {
    const params = [...actorParams(actor), collection, id, jobId];
    return (await this.#client.query(DELETE, params, signal)).length > 0;
  }

  /** Whether there was such a collection. */
  async deleteCollection(collection: string, { actor, jobId, signal }: ChangeContext): Promise<boolean> {
    const params = [...actorParams(actor), collection, jobId];
    return (await this.#client.query(DELETE_COLLECTION, params, signal)).length > 0;
  }

  async find(
    { tenantId, collection, id }: DocumentKey,
    signal: AbortSignal,
  ): Promise<StoredDocument | undefined> {
    const [row] = await this.#client.query<DocumentRow>(FIND, [tenantId, collection, id], signal);
    return row && storedDocument(row);
  }

  /** @param revision the version that is meant; undefined for the newest */
  async findVersion(
    { tenantId, collection, id }: DocumentKey,
    revision: string | undefined,
    signal: AbortSignal,
  ): Promise<DocumentVersion | undefined> {
    const params = [tenantId, collection, id, revision ?? null];
    const [row] = await this.#client.query<DocumentVersion & { media_type: string }>(
      FIND_VERSION,
      params,
      signal,
    );
    return row && { ...row, mediaType: row.media_type };
  }

  /** Of those documents that are there and did not fail. */
  async findHashes(
    tenantId: string,
    collection: string,
    ids: readonly string[],
    signal: AbortSignal,
  ): Promise<Map<string, string>> {
    const params = [tenantId, collection, ids];
    const rows = await this.#client.query<{ id: string; content_hash: string }>(FIND_HASHES, params, signal);
    return new Map(rows.map(({ id, content_hash }) => [id, content_hash]));
  }

  /** By id, those after `after`. */
  async list(
    tenantId: string,
    collection: string,
    { after, limit }: { after: string; limit: number },
    signal: AbortSignal,
  ): Promise<StoredDocument[]> {
    const rows = await this.#client.query<DocumentRow>(LIST, [tenantId, collection, after, limit], signal);
    return rows.map(storedDocument);
  }

  /** Documents of a collection, and steps of the tenant that are not finished. */
  async count(
    tenantId: string,
    collection: string,
    signal: AbortSignal,
  ): Promise<{ documents: number; steps: number }> {
    type Counts = { documents: number; steps: number };
    const [row] = await this.#client.query<Counts>(COUNT, [tenantId, collection], signal);
    return row ?? { documents: 0, steps: 0 };
  }

  async findJob(
    tenantId: string,
    collection: string,
    jobId: string,
    signal: AbortSignal,
  ): Promise<JobProgress | undefined> {
    const [row] = await this.#client.query<JobRow>(FIND_JOB, [tenantId, jobId, collection], signal);
    if (!row || row.total === 0) return undefined;
    type Problem = { document_id: string; error: string };
    const problems = await this.#client.query<Problem>(FIND_PROBLEMS, [tenantId, jobId], signal);
    const isFinished = row.done + row.failed === row.total;
    return {
      jobId,
      collection: row.collection,
      total: row.total,
      done: row.done,
      failed: row.failed,
      problems: problems.map(({ document_id, error }) => ({ documentId: document_id, message: error })),
      createdAtMs: row.created_at_ms,
      finishedAtMs: isFinished ? (row.finished_at_ms ?? row.created_at_ms) : undefined,
    };
  }
}

function storedDocument(row: DocumentRow): StoredDocument {
  return {
    tenantId: row.tenant_id,
    collection: row.collection,
    id: row.id,
    title: row.title,
    mediaType: row.media_type,
    contentHash: row.content_hash,
    sizeBytes: row.size_bytes,
    metadata: row.metadata,
    state: row.state,
    error: row.error ?? undefined,
    chunksCount: row.chunks_count,
    createdAtMs: row.created_at_ms,
    updatedAtMs: row.updated_at_ms,
  };
}

function audit(action: string, details: string): string {
  const target = { targetKind: "document", targetId: "collection || '/' || id" } as const;
  return auditInsert({ from: "changed", action, ...target, details });
}
