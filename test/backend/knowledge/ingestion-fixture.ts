/** Ingestion on a real database and index, with an embedding model that can be made to fail. */
import { randomUUID } from "node:crypto";
import type { DocumentInput } from "../../../backend/knowledge/document-input.ts";
import { DocumentReader } from "../../../backend/knowledge/document-reader.ts";
import { Ingestion } from "../../../backend/knowledge/ingestion.ts";
import { IngestionRunner } from "../../../backend/knowledge/ingestion-runner.ts";
import { PostgresVectorIndex } from "../../../backend/knowledge/postgres-vector-index.ts";
import { rebuildEmpty, rebuildOutdated } from "../../../backend/knowledge/rebuild.ts";
import { createTakeStep } from "../../../backend/knowledge/take-step.ts";
import { EmbeddingModels } from "../../../backend/llm/embedding-models.ts";
import { migrate, readMigrations } from "../../../backend/stores/migrate.ts";
import { SqlCollectionRevisions } from "../../../backend/stores/sql-collection-revisions.ts";
import { SqlCollectionStore } from "../../../backend/stores/sql-collection-store.ts";
import type { SqlDatabase } from "../../../backend/stores/sql-database.ts";
import { SqlDocumentStore } from "../../../backend/stores/sql-document-store.ts";
import { SqlIngestionQueue } from "../../../backend/stores/sql-ingestion-queue.ts";
import type { Actor } from "../../../core/administration/actor.ts";
import { hashedEmbedding } from "../../support/hashed-embedding.ts";

/** Who acts in these tests. */
export function actorOf(tenantId: string): Actor {
  return { tenantId, subject: "ann", scopes: [], keyId: "k", requestId: "r", address: "1.2.3.4" };
}

/** A document as a caller sends it. */
export function input(id: string, text: string, fields: Partial<DocumentInput> = {}): DocumentInput {
  return {
    ...{ id, title: "", contentType: "text/markdown", metadata: {} },
    bytes: new TextEncoder().encode(text),
    ...fields,
  };
}

/** What an OpenAI-compatible embedding server would answer, or how it fails. */
export interface EmbeddingServer {
  calls: number;
  failing: boolean;
  /** Longer inputs are refused as too long. */
  charactersMax: number;
}

/** Brings an empty database to this version; {@link openFixture}'s `close` closes it. */
export async function openFixture(database: SqlDatabase) {
  await migrate(database, await readMigrations());
  const index = new PostgresVectorIndex({
    database,
    now: () => performance.now(),
    onMissing: () => undefined,
  });
  const server: EmbeddingServer = { calls: 0, failing: false, charactersMax: Number.POSITIVE_INFINITY };
  const reader = new DocumentReader();
  return {
    database,
    index,
    server,
    reader,
    /** @param awaitMs how long requests wait for their steps: a busy machine takes its time */
    backend: (embeddingModel?: string, awaitMs = 20_000) =>
      createBackend({ database, index, server, reader, embeddingModel, awaitMs }),
    async count(table: string, where = "true"): Promise<number> {
      const [row] = await database.query<{ n: number }>(
        `SELECT count(*)::int AS n FROM ${table} WHERE ${where}`,
        [],
      );
      return row?.n ?? -1;
    },
    async close() {
      await reader.close();
      await database.close();
    },
  };
}

interface BackendParts {
  database: SqlDatabase;
  index: PostgresVectorIndex;
  server: EmbeddingServer;
  reader: DocumentReader;
  embeddingModel: string | undefined;
  awaitMs: number;
}

/** What one backend has of ingestion; its runner is not started. */
function createBackend({ database, index, server, reader, embeddingModel, awaitMs }: BackendParts) {
  const models = new EmbeddingModels({
    config: { openai: { baseUrl: "http://embeddings.test/v1" }, ollama: { host: "http://127.0.0.1:9" } },
    embeddingModel,
    fetch: embeddingFetch(server),
  });
  const documents = new SqlDocumentStore(database);
  const queue = new SqlIngestionQueue(database);
  const collections = new SqlCollectionStore(database);
  const makeId = () => randomUUID();
  const failures: unknown[] = [];
  const taken: string[] = [];
  const revisions = new SqlCollectionRevisions(database);
  const take = createTakeStep({ documents, queue, collections, revisions, index, models, reader, makeId });
  const runner = new IngestionRunner({
    queue,
    take: (step, signal, onProgress) => {
      taken.push(`${step.kind} ${step.documentId}`);
      return take(step, signal, onProgress);
    },
    tidy: async (signal) => {
      const rebuilding = { queue, collections, models, index, makeId, onRebuild: () => undefined };
      await rebuildOutdated(rebuilding, signal);
      await rebuildEmpty(rebuilding, signal);
    },
    random: () => 0,
    onFailure: ({ error }) => failures.push(error),
  });
  const ingestion = new Ingestion({
    documents,
    collections,
    models,
    reader,
    makeId,
    wake: () => runner.wake(),
    awaitMs,
  });
  return { ingestion, runner, queue, documents, collections, revisions, models, failures, taken };
}

/** Answers as an OpenAI-compatible server does. */
function embeddingFetch(server: EmbeddingServer): typeof fetch {
  return async (_, init) => {
    server.calls++;
    if (server.failing) throw new TypeError("fetch failed", { cause: new Error("ECONNREFUSED") });
    const { input: texts, model } = JSON.parse(String(init?.body)) as { input: string[]; model: string };
    if (texts.some((text) => text.length > server.charactersMax)) {
      const error = { message: "too long", code: "context_length_exceeded", type: "invalid_request_error" };
      return Response.json({ error }, { status: 400 });
    }
    const dimension = model === "large" ? 64 : 32;
    const data = texts.map((text, at) => ({
      object: "embedding",
      index: at,
      embedding: [...hashedEmbedding(text, dimension)],
    }));
    return Response.json({ object: "list", model, data, usage: { prompt_tokens: 1, total_tokens: 1 } });
  };
}

/** Asks until it is so; gives up after `limitMs`. */
export async function until(isSo: () => Promise<boolean>, limitMs = 30_000): Promise<void> {
  const startedAtMs = Date.now();
  while (!(await isSo())) {
    if (Date.now() - startedAtMs > limitMs) throw new Error(`it was not so within ${limitMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
