/**
 * Documents into collections and out of them. Reading a document happens within the request, because what is wrong
 * with it is its sender's to know; embedding and indexing happen in the background, and outlive the process.
 */
import type { Actor } from "../../core/administration/actor.ts";
import { ParleyError, toParleyError } from "../../core/errors/parley-error.ts";
import { BULK_DOCUMENTS_MAX, DOCUMENTS_LISTED_MAX } from "../../core/knowledge/document-size.ts";
import { sleep } from "../../core/resilience/full-jitter.ts";
import type { EmbeddingModels } from "../llm/embedding-models.ts";
import type { SqlDocumentStore } from "../stores/sql-document-store.ts";
import type { CollectionStore } from "./collection-store.ts";
import {
  type CheckedDocument,
  checkDocument,
  type DocumentInput,
  requireCollectionName,
} from "./document-input.ts";
import type { DocumentReader } from "./document-reader.ts";
import { collectionNotFound, findCollection, shown } from "./find-collection.ts";
import type { JobProgress, StoredDocument } from "./stored-document.ts";

/** Documents of one collection: with some ten chunks each, a million chunks. */
export const DOCUMENTS_MAX = 100_000;
/** Steps of one tenant that wait; over it, new documents have to. */
export const STEPS_WAITING_MAX = 20_000;
/** A small document is in the index after this time, and its sender need not ask again. */
const AWAIT_MS = 1_500;
const AWAIT_INTERVAL_MS = 40;
const RETRY_AFTER_MS = 10_000;

/** Whoever asks, for what long. */
export interface IngestionCall {
  readonly actor: Actor;
  readonly signal: AbortSignal;
}

/** What became of a document that was put. */
export interface PutOutcome {
  /** `refused` in bulk requests only: elsewhere what was wrong is thrown. */
  readonly status: "unchanged" | "queued" | "refused";
  readonly id: string;
  readonly document: StoredDocument | undefined;
  readonly error: ParleyError | undefined;
}

/** What the documents of one request have in common. */
interface PutContext {
  /** By id, of what is there already. */
  readonly hashes: ReadonlyMap<string, string>;
  readonly jobId: string;
  readonly call: IngestionCall;
  /** Makes the collection, or throws when nothing more can be taken. */
  prepare(): Promise<void>;
}

/** What ingestion works with. */
export interface IngestionParts {
  readonly documents: SqlDocumentStore;
  readonly collections: CollectionStore;
  readonly models: EmbeddingModels;
  readonly reader: DocumentReader;
  /** An id that nobody has. */
  makeId(): string;
  /** Says that there are new steps. */
  wake(): void;
  /** How long a request waits for its steps; default {@link AWAIT_MS}. */
  readonly awaitMs?: number | undefined;
}

/** Every operation throws ParleyError; what is another tenant's is `not_found`, in the same words as what is not there. */
export class Ingestion {
  readonly #parts: IngestionParts;

  constructor(parts: IngestionParts) {
    this.#parts = parts;
  }

  /** Puts one document, and waits a little for it to be in the index. */
  async put(
    collection: string,
    input: DocumentInput,
    call: IngestionCall,
  ): Promise<{ outcome: PutOutcome; job: JobProgress | undefined }> {
    requireCollectionName(collection);
    const checked = checkDocument(input);
    const jobId = this.#parts.makeId();
    const hashes = await this.#hashesOf(collection, [checked.id], call);
    const prepare = () => this.#prepare(collection, call);
    const outcome = await this.#putChecked(collection, checked, { hashes, jobId, call, prepare });
    if (outcome.status === "unchanged") return { outcome, job: undefined };
    const job = await this.#awaitJob(collection, jobId, call);
    return { outcome: { ...outcome, document: await this.get(collection, checked.id, call) }, job };
  }

  /** Puts many; each is taken or refused by itself. */
  async putMany(
    collection: string,
    inputs: readonly DocumentInput[],
    call: IngestionCall,
  ): Promise<{ outcomes: PutOutcome[]; job: JobProgress | undefined }> {
    requireCollectionName(collection);
    if (inputs.length === 0 || inputs.length > BULK_DOCUMENTS_MAX) {
      throw new ParleyError("invalid_argument", `a bulk request has 1 to ${BULK_DOCUMENTS_MAX} documents`);
    }
    const jobId = this.#parts.makeId();
    const hashes = await this.#hashesOf(
      collection,
      inputs.map(({ id }) => id),
      call,
    );
    // Before the first document that is taken, and for that one only.
    let prepared: Promise<void> | undefined;
    const prepare = () => {
      prepared ??= this.#prepare(collection, call);
      return prepared;
    };
    const outcomes: PutOutcome[] = [];
    for (const input of inputs) {
      try {
        outcomes.push(
          await this.#putChecked(collection, checkDocument(input), { hashes, jobId, call, prepare }),
        );
      } catch (thrown) {
        call.signal.throwIfAborted();
        const error = toParleyError(thrown);
        if (error.code !== "invalid_argument") throw error;
        outcomes.push({ status: "refused", id: input.id, document: undefined, error });
      }
    }
    const hasWork = outcomes.some(({ status }) => status === "queued");
    return { outcomes, job: hasWork ? await this.#awaitJob(collection, jobId, call) : undefined };
  }

  /** @throws ParleyError `not_found` */
  async get(collection: string, id: string, { actor, signal }: IngestionCall): Promise<StoredDocument> {
    const document = await this.#parts.documents.find({ tenantId: actor.tenantId, collection, id }, signal);
    if (!document) throw documentNotFound(collection, id);
    return document;
  }

  /** The text of a document as it is searched. @throws ParleyError `not_found` */
  async getText(collection: string, id: string, { actor, signal }: IngestionCall): Promise<string> {
    const key = { tenantId: actor.tenantId, collection, id };
    const version = await this.#parts.documents.findVersion(key, undefined, signal);
    if (!version) throw documentNotFound(collection, id);
    return version.text;
  }

  /**
   * The tenant's own, by id, those after `after`; of a shared collection there are none.
   *
   * @throws ParleyError as {@link requireCollection}
   */
  async list(
    collection: string,
    { after, limit }: { after: string; limit: number },
    call: IngestionCall,
  ): Promise<StoredDocument[]> {
    const page = { after, limit: Math.max(1, Math.min(limit, DOCUMENTS_LISTED_MAX)) };
    const documents = await this.#parts.documents.list(call.actor.tenantId, collection, page, call.signal);
    if (documents.length === 0) await this.requireCollection(collection, call);
    return documents;
  }

  /**
   * Tells an empty collection from one that is not there.
   *
   * @throws ParleyError `not_found` when the tenant has no such collection and shares none
   */
  async requireCollection(collection: string, { actor, signal }: IngestionCall): Promise<void> {
    if (await findCollection(this.#parts.collections, actor.tenantId, collection, signal)) return;
    throw collectionNotFound(collection, "; check its name, or put a document into it, which makes it");
  }

  /** Deletes a document; searches may find it for as long as the job is not finished. */
  async delete(collection: string, id: string, call: IngestionCall): Promise<JobProgress> {
    const jobId = this.#parts.makeId();
    if (!(await this.#parts.documents.delete(collection, id, { ...call, jobId }))) {
      throw documentNotFound(collection, id);
    }
    return this.#awaitJob(collection, jobId, call);
  }

  /** Deletes a collection with all of its documents. */
  async deleteCollection(collection: string, call: IngestionCall): Promise<JobProgress> {
    const jobId = this.#parts.makeId();
    if (!(await this.#parts.documents.deleteCollection(collection, { ...call, jobId }))) {
      throw collectionNotFound(collection);
    }
    return this.#awaitJob(collection, jobId, call);
  }

  /** @throws ParleyError `not_found`, also a week after the job was finished */
  async getJob(collection: string, jobId: string, { actor, signal }: IngestionCall): Promise<JobProgress> {
    const job = await this.#parts.documents.findJob(actor.tenantId, collection, jobId, signal);
    if (!job) throw new ParleyError("not_found", `there is no job "${shown(jobId)}" of this collection`);
    return job;
  }

  #hashesOf(collection: string, ids: readonly string[], { actor, signal }: IngestionCall) {
    return this.#parts.documents.findHashes(actor.tenantId, collection, ids, signal);
  }

  /** Makes the collection, if need be, and refuses what there is no room for. */
  async #prepare(collection: string, { actor, signal }: IngestionCall): Promise<void> {
    const { documents, collections, models } = this.#parts;
    const counts = await documents.count(actor.tenantId, collection, signal);
    if (counts.documents >= DOCUMENTS_MAX) {
      throw new ParleyError(
        "resource_exhausted",
        `a collection can have ${DOCUMENTS_MAX} documents; delete some, or begin another collection`,
        { reason: "collection-full" },
      );
    }
    if (counts.steps >= STEPS_WAITING_MAX) {
      throw new ParleyError("resource_exhausted", "too many documents wait to be indexed; try again later", {
        reason: "ingestion-full",
        retryable: true,
        retryAfterMs: RETRY_AFTER_MS,
      });
    }
    if (await collections.find(actor.tenantId, collection, signal)) return;
    await collections.ensure(actor.tenantId, collection, await models.current(signal), signal);
  }

  async #putChecked(
    collection: string,
    checked: CheckedDocument,
    { hashes, jobId, call, prepare }: PutContext,
  ): Promise<PutOutcome> {
    const { id, contentHash, mediaType, metadata, bytes } = checked;
    const { actor, signal } = call;
    const unchanged = async (): Promise<PutOutcome> => ({
      status: "unchanged",
      id,
      document: await this.get(collection, id, call),
      error: undefined,
    });
    if (hashes.get(id) === contentHash) return unchanged();
    const { text, format, title = id } = await this.#parts.reader.read(checked, signal);
    await prepare();
    const version = { title: title.slice(0, 200), mediaType, contentHash, metadata, format, text };
    const document = await this.#parts.documents.put(
      { ...version, tenantId: actor.tenantId, collection, id, sizeBytes: bytes.byteLength },
      { actor, jobId, signal },
    );
    if (!document) return unchanged();
    this.#parts.wake();
    return { status: "queued", id, document, error: undefined };
  }

  /** The job, finished if that does not take long. */
  async #awaitJob(collection: string, jobId: string, call: IngestionCall): Promise<JobProgress> {
    this.#parts.wake();
    const until = performance.now() + (this.#parts.awaitMs ?? AWAIT_MS);
    for (;;) {
      const job = await this.getJob(collection, jobId, call);
      if (job.finishedAtMs !== undefined || performance.now() >= until) return job;
      await sleep(AWAIT_INTERVAL_MS, call.signal);
    }
  }
}

function documentNotFound(collection: string, id: string): ParleyError {
  return new ParleyError(
    "not_found",
    `there is no document "${shown(id)}" in the collection "${shown(collection)}"`,
  );
}
