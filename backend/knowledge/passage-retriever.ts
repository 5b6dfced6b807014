/** The port to knowledge: the passages of a collection that best fit a question. */
import type { Metadata } from "./chunk.ts";
import type { MetadataFilter } from "./metadata-filter.ts";

/** A piece of a document, quotable. */
export interface Passage {
  /** The piece itself, as it stands in the document. */
  readonly text: string;
  /** Id of the document within its collection, e.g. `docs/architecture.md`. */
  readonly documentId: string;
  readonly title: string;
  /** Path of headings above the piece, outermost first; may be empty. */
  readonly headings: readonly string[];
  /** Offsets of `text` in the document, UTF-16 code units: [start, end). */
  readonly start: number;
  readonly end: number;
  /** 0 to 1, higher is better; comparable only within one answer. */
  readonly score: number;
  readonly metadata?: Metadata;
}

/** What is looked for, and where. */
export interface PassageQuery {
  readonly tenantId: string;
  readonly collection: string;
  readonly query: string;
  /** At most this many passages, best first. */
  readonly passagesMax: number;
  readonly filter?: MetadataFilter | undefined;
}

/**
 * How the search went. `complete`; `words-only`: by words alone, because the embedding model does not answer;
 * `unavailable`: not at all, so that no passages means nothing.
 */
export type RetrievalState = "complete" | "words-only" | "unavailable";

/** What was found. */
export interface Retrieval {
  /** Best first, all of them relevant; none when the collection has nothing on the question. */
  readonly passages: readonly Passage[];
  readonly state: RetrievalState;
}

/**
 * Finds passages, within a time that an answer can wait for. A collection that does not exist, or one of another
 * tenant, has none; a tenant's own hides a shared one of the same name. Rejects only with the reason of `signal`.
 */
export interface PassageRetriever {
  retrieve(query: PassageQuery, signal: AbortSignal): Promise<Retrieval>;
}
