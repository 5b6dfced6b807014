/** Builds collections anew with the deployment's embedding model, beside the generation that answers meanwhile. */
import type { EmbeddingModels } from "../llm/embedding-models.ts";
import type { SqlIngestionQueue } from "../stores/sql-ingestion-queue.ts";
import type { CollectionStore } from "./collection-store.ts";
import { SHARED_TENANT_ID } from "./vector-index.ts";

/** What rebuilding works with. */
export interface RebuildParts {
  readonly queue: SqlIngestionQueue;
  readonly collections: CollectionStore;
  readonly models: EmbeddingModels;
  makeId(): string;
  onRebuild(rebuild: { tenantId: string; collection: string; generation: number; jobId: string }): void;
}

/**
 * Begins the rebuilding of every collection that has another embedding model than the configured one. Idempotent, and
 * safe when several backends do it at once. What was built for yet another model, and not finished, is dropped.
 */
export async function rebuildOutdated(parts: RebuildParts, signal: AbortSignal): Promise<void> {
  const { queue, collections, models, makeId, onRebuild } = parts;
  const outdated = await queue.outdatedCollections(models.currentId, signal);
  for (const { tenantId, collection } of outdated) {
    if (tenantId === SHARED_TENANT_ID) continue;
    const spec = await models.current(signal);
    const before = await collections.find(tenantId, collection, signal);
    const { building } = await collections.beginGeneration(tenantId, collection, spec, signal);
    if (!building) continue;
    const jobId = makeId();
    await queue.enqueueRebuild({ tenantId, collection }, building.generation, jobId, signal);
    if (before?.building && before.building.generation !== building.generation) {
      await queue.enqueueDrop({ tenantId, collection }, before.building.generation, makeId(), signal);
    }
    onRebuild({ tenantId, collection, generation: building.generation, jobId });
  }
}
