/** The port to knowledge: the passages of a collection that best fit a question. */

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
  /** Higher is better; comparable only within one answer. */
  readonly score: number;
}

/** What is looked for, and where. */
export interface PassageQuery {
  readonly tenantId: string;
  readonly collection: string;
  readonly query: string;
  /** At most this many passages, best first. */
  readonly passagesMax: number;
}

/**
 * Finds passages. A collection that does not exist, or one of another tenant, has none. Fails with ParleyError
 * `unavailable` when the store cannot be asked.
 */
export interface PassageRetriever {
  retrieve(query: PassageQuery, signal: AbortSignal): Promise<readonly Passage[]>;
}
