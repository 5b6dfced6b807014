/** What each kind of step does. A step can be done twice: each brings about a state, whatever was there before. */
import { ParleyError } from "../../core/errors/parley-error.ts";
import type { EmbeddingModels } from "../llm/embedding-models.ts";
import type { SqlDocumentStore } from "../stores/sql-document-store.ts";
import type { DocumentOutcome, SqlIngestionQueue } from "../stores/sql-ingestion-queue.ts";
import type { CollectionRevisions } from "./collection-revisions.ts";
import type { Collection, CollectionStore, Generation } from "./collection-store.ts";
import type { DocumentReader } from "./document-reader.ts";
import { type IndexingParts, indexChunks, makeChunks } from "./index-document.ts";
import type { IngestionStep } from "./stored-document.ts";
import type { VectorIndex } from "./vector-index.ts";

/** What steps work with. */
export interface StepParts {
  readonly documents: SqlDocumentStore;
  readonly queue: SqlIngestionQueue;
  readonly collections: CollectionStore;
  readonly revisions: Pick<CollectionRevisions, "changed">;
  readonly index: VectorIndex;
  readonly models: EmbeddingModels;
  readonly reader: DocumentReader;
  makeId(): string;
}

/** How a step ended: it is over, or it is to be tried again although something of it is done. */
export type StepOutcome =
  | { readonly state: "done" | "superseded"; readonly document?: DocumentOutcome | undefined }
  | { readonly state: "again"; readonly failure: ParleyError; readonly document: DocumentOutcome };

/** Makes the function that does steps. */
export function createTakeStep(parts: StepParts) {
  return async function takeStep(
    step: IngestionStep,
    signal: AbortSignal,
    onProgress: () => Promise<void>,
  ): Promise<StepOutcome> {
    const outcome = await take(parts, step, signal, onProgress);
    // Before the step is over: one that ends in between is taken again, and says so then.
    if (outcome.state !== "superseded") await parts.revisions.changed(step.tenantId, step.collection, signal);
    return outcome;
  };
}

function take(
  parts: StepParts,
  step: IngestionStep,
  signal: AbortSignal,
  onProgress: () => Promise<void>,
): Promise<StepOutcome> {
  switch (step.kind) {
    case "index":
      return indexStep(parts, step, signal, onProgress);
    case "remove":
      return removeStep(parts, step, signal);
    case "activate":
      return activateStep(parts, step, signal);
    case "drop":
      return dropStep(parts, step, signal);
  }
}

/** With an embedding model that cannot be asked, what is searched gets the words at once and the rest later. */
async function indexStep(
  parts: StepParts,
  step: IngestionStep,
  signal: AbortSignal,
  onProgress: () => Promise<void>,
): Promise<StepOutcome> {
  const { tenantId, collection: name, documentId: id, revision } = step;
  const key = { tenantId, collection: name, id };
  const [version, collection] = [
    await parts.documents.findVersion(key, revision, signal),
    await parts.collections.find(tenantId, name, signal),
  ];
  const generations = collection ? meant(collection, step.generation) : [];
  if (!version || generations.length === 0) return { state: "superseded" };
  const chunks = makeChunks(id, version, await parts.reader.split(version, signal));
  const indexing: IndexingParts = {
    index: parts.index,
    findModel: (modelId) => parts.models.find(modelId),
    onProgress,
  };
  let failure: ParleyError | undefined;
  for (const generation of generations) {
    const wordsAlone = generation === collection?.active;
    const outcome = await indexChunks(indexing, key, generation, chunks, { wordsAlone, signal });
    failure ??= outcome.embeddingFailure;
  }
  const document = (state: DocumentOutcome["state"]) => ({ state, chunksCount: chunks.length });
  if (failure) return { state: "again", failure, document: document("words-only") };
  return { state: "done", document: document("ready") };
}

async function removeStep(
  { collections, index }: StepParts,
  { tenantId, collection: name, documentId }: IngestionStep,
  signal: AbortSignal,
): Promise<StepOutcome> {
  const collection = await collections.find(tenantId, name, signal);
  for (const { generation } of collection ? meant(collection) : []) {
    await index.deleteDocument({ tenantId, collection: name, generation }, documentId, signal);
  }
  return { state: "done" };
}

/** All documents are in: from here on the new generation answers, and the old one goes. */
async function activateStep(
  { collections, queue, makeId }: StepParts,
  { tenantId, collection: name, generation = 0 }: IngestionStep,
  signal: AbortSignal,
): Promise<StepOutcome> {
  const before = await collections.find(tenantId, name, signal);
  if (before?.building?.generation !== generation) return { state: "superseded" };
  // Queued first, so that it is not forgotten in between; it waits until the generation is out of use.
  await queue.enqueueDrop({ tenantId, collection: name }, before.active.generation, makeId(), signal);
  await collections.activateGeneration(tenantId, name, generation, signal);
  return { state: "done" };
}

async function dropStep(
  { collections, index }: StepParts,
  { tenantId, collection: name, generation }: IngestionStep,
  signal: AbortSignal,
): Promise<StepOutcome> {
  const collection = await collections.find(tenantId, name, signal);
  if (generation !== undefined && collection && meant(collection, generation).length > 0) {
    throw new ParleyError("unavailable", `generation ${generation} is in use`, { retryable: true });
  }
  await index.dropScope({ tenantId, collection: name, generation }, signal);
  return { state: "done" };
}

/** The generation of this number if it is in use; without a number all that are. */
function meant({ active, building }: Collection, generation?: number): Generation[] {
  const inUse = building ? [active, building] : [active];
  return generation === undefined ? inUse : inUse.filter((one) => one.generation === generation);
}
