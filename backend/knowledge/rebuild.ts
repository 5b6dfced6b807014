/**
 * Builds collections anew, beside the generation that answers meanwhile: with the deployment's embedding model when it
 * is another one, and in the deployment's index when that has nothing of them.
 */
import type { EmbeddingModels } from "../llm/embedding-models.ts";
import type { SqlIngestionQueue } from "../stores/sql-ingestion-queue.ts";
import type { CollectionStore } from "./collection-store.ts";
import { SHARED_TENANT_ID, type VectorIndex } from "./vector-index.ts";

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
  for (const each of await parts.queue.outdatedCollections(parts.models.currentId, signal)) {
    if (each.tenantId !== SHARED_TENANT_ID) await rebuild(parts, each, signal);
  }
}

/**
 * Begins the rebuilding of every collection that has documents, and nothing in the index: the deployment has another
 * index now, or that index has lost what it had. A new generation, because an index that is taken into use again may
 * still hold what was in an older one. Idempotent, as above.
 */
export async function rebuildEmpty(
  parts: RebuildParts & { readonly index: Pick<VectorIndex, "countChunks"> },
  signal: AbortSignal,
): Promise<void> {
  for await (const each of parts.queue.indexedCollections(signal)) {
    if ((await parts.index.countChunks(each, signal)) === 0) await rebuild(parts, each, signal);
  }
}

async function rebuild(
  { queue, collections, models, makeId, onRebuild }: RebuildParts,
  { tenantId, collection }: { readonly tenantId: string; readonly collection: string },
  signal: AbortSignal,
): Promise<void> {
  const spec = await models.current(signal);
  const before = await collections.find(tenantId, collection, signal);
  const { building } = await collections.beginGeneration(tenantId, collection, spec, signal);
  if (!building) return;
  const jobId = makeId();
  await queue.enqueueRebuild({ tenantId, collection }, building.generation, jobId, signal);
  if (before?.building && before.building.generation !== building.generation) {
    await queue.enqueueDrop({ tenantId, collection }, before.building.generation, makeId(), signal);
  }
  onRebuild({ tenantId, collection, generation: building.generation, jobId });
}
