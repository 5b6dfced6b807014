/**
 * The port to the index of chunks: stores them by scope, and finds candidates by meaning (dense) and by words
 * (lexical). It ranks within each of the two ways; fusing them, judging relevance and removing duplicates is
 * search's part (search-knowledge.ts).
 */
import type { Chunk, EmbeddedChunk } from "./chunk.ts";
import type { MetadataFilter } from "./metadata-filter.ts";

/** One build of a collection: all its vectors come from one embedding model and have one dimension. */
export interface IndexScope {
  /** A tenant's id, or {@link SHARED_TENANT_ID}. */
  readonly tenantId: string;
  readonly collection: string;
  /** Counts the builds of a collection, from 1; see collection-store.ts. */
  readonly generation: number;
}

/** A generation of a collection or, without one, all of them. */
export type ScopeSelection = Omit<IndexScope, "generation"> & { readonly generation?: number | undefined };

/** Names a scope, or all generations of a collection: a different text for each. */
export function scopeName({ tenantId, collection, generation }: ScopeSelection): string {
  return JSON.stringify(
    generation === undefined ? [tenantId, collection] : [tenantId, collection, generation],
  );
}

/** Owner of the collections that every tenant may read. No tenant's id: those begin with a letter or a digit. */
export const SHARED_TENANT_ID = "_shared";

/** Longest embedding that every adapter can index: pgvector's HNSW takes 2,000 numbers. */
export const DIMENSION_MAX = 2_000;
/** Chunks of one document: about 25 MB of text. Adapters that replace in one piece hold them in memory. */
export const DOCUMENT_CHUNKS_MAX = 20_000;
/** Candidates of each way of one search. */
export const CANDIDATES_MAX = 200;

/** What is looked for. */
export interface IndexQuery {
  readonly scope: IndexScope;
  /** Of the question, by the scope's embedding model. Undefined: by words alone. */
  readonly embedding: Float32Array | undefined;
  /** The question. An index without lexical search ignores it. */
  readonly query: string;
  /** At most this many candidates of each way, 1 to {@link CANDIDATES_MAX}. */
  readonly limit: number;
  readonly filter?: MetadataFilter | undefined;
}

/** Where a candidate stands in one way of searching. */
export interface CandidateRank {
  /** From 1. */
  readonly rank: number;
  /** Higher is better. Dense: the cosine, -1 to 1. Lexical: at least 0, comparable only within one answer. */
  readonly score: number;
}

/** A chunk that was found, in one way or in both. */
export interface Candidate {
  readonly chunk: Chunk;
  readonly dense: CandidateRank | undefined;
  readonly lexical: CandidateRank | undefined;
}

/**
 * Stores and finds chunks. A scope that does not exist holds nothing: searching, counting and deleting there is no
 * error. Whoever is in another scope is never seen.
 *
 * Every method fails with ParleyError: `unavailable` (retryable) when the engine cannot be reached or does not answer
 * in time; `invalid_argument` for embeddings longer than {@link DIMENSION_MAX} or of different lengths in one document,
 * and for more than {@link DOCUMENT_CHUNKS_MAX} chunks. A vector of another length than those it is compared with
 * finds none of them. A signal that aborts ends the wait, not necessarily the work.
 */
export interface VectorIndex {
  /**
   * Makes ready what a scope of this dimension needs; to be called before the first chunk is stored there.
   * Idempotent, and safe when several backends do it at once.
   *
   * @param dimension length of the scope's embeddings, 1 to {@link DIMENSION_MAX}
   */
  prepare(scope: IndexScope, dimension: number, signal: AbortSignal): Promise<void>;

  /**
   * Makes these the only chunks of the document, found by searches that begin after it has resolved. Searches
   * meanwhile find the old version, the new one or both, never neither. Idempotent: after a failure, the same call
   * again completes it. An empty list deletes the document.
   *
   * @param chunks all with this document's id and different chunk ids
   */
  replaceDocument(
    scope: IndexScope,
    documentId: string,
    chunks: readonly EmbeddedChunk[],
    signal: AbortSignal,
  ): Promise<void>;

  /** Leaves no chunk of the document in this scope. Idempotent. */
  deleteDocument(scope: IndexScope, documentId: string, signal: AbortSignal): Promise<void>;

  /** Leaves nothing of a generation or, without one, of all generations of the collection. Idempotent. */
  dropScope(scope: ScopeSelection, signal: AbortSignal): Promise<void>;

  /** How many chunks the scope holds, those that were stored just now among them. */
  countChunks(scope: IndexScope, signal: AbortSignal): Promise<number>;

  /** The best candidates, those of both ways together, in no particular order; each chunk once. */
  search(query: IndexQuery, signal: AbortSignal): Promise<Candidate[]>;
}
