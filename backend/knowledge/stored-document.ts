/** Documents and the steps of their ingestion, as they are kept. */
import type { Metadata } from "./chunk.ts";
import type { TextFormat } from "./document-structure.ts";

/**
 * - `pending`: searches do not find this version yet; of an older one they find what was there.
 * - `words-only`: found by its words; its embeddings come when the embedding model can be reached again.
 * - `ready`: found by words and meaning.
 * - `failed`: cannot be indexed; `error` says why.
 */
export type DocumentState = "pending" | "words-only" | "ready" | "failed";

/** Where a document belongs. */
export interface DocumentKey {
  readonly tenantId: string;
  readonly collection: string;
  readonly id: string;
}

/** A document without its text. */
export interface StoredDocument extends DocumentKey {
  readonly title: string;
  readonly mediaType: string;
  /** SHA-256 over all that makes this version. */
  readonly contentHash: string;
  readonly sizeBytes: number;
  readonly metadata: Metadata;
  readonly state: DocumentState;
  readonly error: string | undefined;
  readonly chunksCount: number;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
}

/** A version of a document on its way into the database. */
export interface NewDocument extends DocumentKey {
  readonly title: string;
  readonly mediaType: string;
  readonly contentHash: string;
  readonly sizeBytes: number;
  readonly metadata: Metadata;
  readonly format: TextFormat;
  readonly text: string;
}

/** A version as its chunks are made from it. */
export interface DocumentVersion {
  readonly title: string;
  readonly mediaType: string;
  readonly metadata: Metadata;
  readonly format: TextFormat;
  readonly text: string;
}

/** A step that a backend has taken on. */
export interface IngestionStep {
  readonly position: string;
  readonly tenantId: string;
  readonly collection: string;
  readonly kind: "index" | "remove" | "activate" | "drop";
  /** Empty for `activate` and `drop`. */
  readonly documentId: string;
  /** Of `index`: the version that is meant, for every generation if none is named. */
  readonly revision: string | undefined;
  readonly generation: number | undefined;
  /** Tries, this one included. */
  readonly attempts: number;
}

/** How far the steps of one request have come. */
export interface JobProgress {
  readonly jobId: string;
  readonly collection: string;
  readonly total: number;
  /** Finished, those whose document was replaced or deleted meanwhile included. */
  readonly done: number;
  readonly failed: number;
  /** What steps that failed or wait for another try say, the first few. */
  readonly problems: readonly { readonly documentId: string; readonly message: string }[];
  readonly createdAtMs: number;
  /** Undefined while there is work left. */
  readonly finishedAtMs: number | undefined;
}
