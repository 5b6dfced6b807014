/** The port to what tells one state of a collection's contents from the next. */

/** Names states of collections. Every method fails with ParleyError `unavailable` when the database cannot be reached. */
export interface CollectionRevisions {
  /**
   * The state of what a tenant's searches find under this name: the same only as long as that has not changed, also
   * when the tenant's own collection comes to hide a shared one. Undefined for some seconds after a change, while an
   * index may still give what was there before.
   */
  current(tenantId: string, collection: string, signal?: AbortSignal): Promise<string | undefined>;

  /** What searches find in a collection has changed: to be called after that. Idempotent; no collection is no error. */
  changed(tenantId: string, collection: string, signal?: AbortSignal): Promise<void>;
}
