/**
 * The port to the collections of documents and their generations. A generation is one build of a collection with
 * one embedding model; a change of the model builds the next one beside it and switches when it is whole.
 */

/** A build of a collection. */
export interface Generation {
  /** From 1; numbers are not given twice. */
  readonly generation: number;
  /** {@link EmbeddingModel.id} of the model of all its vectors. */
  readonly embeddingModel: string;
  /** Length of its vectors. */
  readonly dimension: number;
}

/** A collection of documents. */
export interface Collection {
  /** A tenant's id, or SHARED_TENANT_ID. */
  readonly tenantId: string;
  readonly name: string;
  /** The generation that is searched. */
  readonly active: Generation;
  /** The one that is being built beside it, if any. */
  readonly building: Generation | undefined;
}

/** Which embeddings a generation is to have. */
export interface GenerationSpec {
  readonly embeddingModel: string;
  readonly dimension: number;
}

/**
 * Keeps collections. Every method fails with ParleyError `unavailable` (retryable) when the database cannot be
 * reached. All of them may be called by several backends at once.
 */
export interface CollectionStore {
  /** Undefined when the tenant has no such collection; a shared one is found under SHARED_TENANT_ID only. */
  find(tenantId: string, name: string, signal?: AbortSignal): Promise<Collection | undefined>;

  /** A tenant's collections, by name; at most `limit`, after the name `after`. */
  list(
    tenantId: string,
    page: { readonly limit: number; readonly after?: string | undefined },
    signal?: AbortSignal,
  ): Promise<Collection[]>;

  /** The collection; made, with an active generation of this kind, when there is none. */
  ensure(tenantId: string, name: string, spec: GenerationSpec, signal?: AbortSignal): Promise<Collection>;

  /**
   * Begins the next generation beside the active one. The same spec again returns the one being built; another
   * one takes its place, and its number is not used again (what it has in the index is the caller's to drop).
   *
   * @returns the collection, with `building` set
   * @throws ParleyError `not_found` when there is no such collection
   */
  beginGeneration(
    tenantId: string,
    name: string,
    spec: GenerationSpec,
    signal?: AbortSignal,
  ): Promise<Collection>;

  /**
   * Makes the generation being built the active one; searches see all of it from then on. Dropping the old one
   * from the index is the caller's to do, after this.
   *
   * @returns the collection; unchanged when that generation is active already
   * @throws ParleyError `conflict` when it is neither being built nor active
   */
  activateGeneration(
    tenantId: string,
    name: string,
    generation: number,
    signal?: AbortSignal,
  ): Promise<Collection>;

  /** Forgets the collection; its generation numbers are not given again to a new one of its name. Idempotent. */
  delete(tenantId: string, name: string, signal?: AbortSignal): Promise<void>;
}
