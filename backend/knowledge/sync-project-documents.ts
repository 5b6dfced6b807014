/**
 * Keeps the shared collection that the agent `guide` answers from in step with the project's documentation. What has
 * not changed is left alone, so that every start of every backend may do it.
 */
import { ParleyError } from "../../core/errors/parley-error.ts";
import { BULK_DOCUMENTS_MAX, DOCUMENTS_LISTED_MAX } from "../../core/knowledge/document-size.ts";
import type { Ingestion, IngestionCall } from "./ingestion.ts";
import { PROJECT_COLLECTION, type ProjectDocument } from "./project-documents.ts";
import { SHARED_TENANT_ID } from "./vector-index.ts";

/** What was done. */
export interface SyncedDocuments {
  /** Ids of documents that were put, new or changed. */
  readonly put: readonly string[];
  readonly deleted: readonly string[];
}

/** Makes these the documents of the collection. Rejects as ingestion does; the same call again completes it. */
export async function syncProjectDocuments(
  ingestion: Ingestion,
  documents: readonly ProjectDocument[],
  signal: AbortSignal,
): Promise<SyncedDocuments> {
  const call: IngestionCall = {
    actor: {
      ...{ tenantId: SHARED_TENANT_ID, subject: "parley", scopes: [], keyId: "" },
      ...{ requestId: "project-documents", address: "" },
    },
    signal,
  };
  const wanted = new Set(documents.map(({ id }) => id));
  const deleted = (await listIds(ingestion, call)).filter((id) => !wanted.has(id));
  for (const id of deleted) await ingestion.delete(PROJECT_COLLECTION, id, call);
  const put: string[] = [];
  for (let start = 0; start < documents.length; start += BULK_DOCUMENTS_MAX) {
    const inputs = documents.slice(start, start + BULK_DOCUMENTS_MAX).map(({ id, text }) => ({
      ...{ id, title: "", contentType: "text/markdown", metadata: {} },
      bytes: new TextEncoder().encode(text),
    }));
    const { outcomes } = await ingestion.putMany(PROJECT_COLLECTION, inputs, call);
    put.push(...outcomes.filter(({ status }) => status === "queued").map(({ id }) => id));
  }
  return { put, deleted };
}

async function listIds(ingestion: Ingestion, call: IngestionCall): Promise<string[]> {
  const ids: string[] = [];
  for (;;) {
    const page = { after: ids.at(-1) ?? "", limit: DOCUMENTS_LISTED_MAX };
    const documents = await ingestion.list(PROJECT_COLLECTION, page, call).catch(noneYet);
    ids.push(...documents.map(({ id }) => id));
    if (documents.length < DOCUMENTS_LISTED_MAX) return ids;
  }
}

/** Before the first start there is no collection; putting makes it. */
function noneYet(error: unknown): [] {
  if (error instanceof ParleyError && error.code === "not_found") return [];
  throw error;
}
