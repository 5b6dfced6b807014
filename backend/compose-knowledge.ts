/** Builds what keeps and indexes documents. */
import { randomUUID } from "node:crypto";
import { fileURLToPath } from "node:url";
import type { Logger } from "pino";
import type { SqlClient } from "../core/directory/sql-client.ts";
import { sleep } from "../core/resilience/full-jitter.ts";
import type { BackendConfig } from "./config.ts";
import { DocumentReader } from "./knowledge/document-reader.ts";
import { Ingestion } from "./knowledge/ingestion.ts";
import { IngestionRunner } from "./knowledge/ingestion-runner.ts";
import { KnowledgeSearch } from "./knowledge/knowledge-search.ts";
import { MilvusConnection } from "./knowledge/milvus-connection.ts";
import { MilvusVectorIndex } from "./knowledge/milvus-vector-index.ts";
import { PostgresVectorIndex } from "./knowledge/postgres-vector-index.ts";
import { readProjectDocuments } from "./knowledge/project-documents.ts";
import { rebuildEmpty, rebuildOutdated } from "./knowledge/rebuild.ts";
import { syncProjectDocuments } from "./knowledge/sync-project-documents.ts";
import { createTakeStep } from "./knowledge/take-step.ts";
import type { VectorIndex } from "./knowledge/vector-index.ts";
import { EmbeddingModels } from "./llm/embedding-models.ts";
import { createQuestionEmbedder } from "./llm/question-embedder.ts";
import { SqlCollectionRevisions } from "./stores/sql-collection-revisions.ts";
import { SqlCollectionStore } from "./stores/sql-collection-store.ts";
import type { SqlDatabase } from "./stores/sql-database.ts";
import { SqlDocumentStore } from "./stores/sql-document-store.ts";
import { SqlIngestionQueue } from "./stores/sql-ingestion-queue.ts";

/** The project's own directory: its README and documents are what the agent `guide` knows. */
const PROJECT_DIRECTORY = fileURLToPath(new URL("..", import.meta.url));
/** Between two tries to bring the project's documents in. */
const SYNC_RETRY_MS = 30_000;

/** The part of the configuration that says where the index is. */
export type IndexConfig = Pick<BackendConfig, "MILVUS_ADDRESS" | "MILVUS_TOKEN">;

/** The part of the configuration that says which models there are. */
export type KnowledgeConfig = Pick<
  BackendConfig,
  "EMBEDDING_MODEL" | "OLLAMA_HOST" | "OPENAI_API_KEY" | "OPENAI_BASE_URL"
>;

/** What takes documents in, where their steps are done by whoever else works on the database. */
export function composeIngestion(
  config: KnowledgeConfig,
  client: SqlClient,
  waiting: { wake: () => void; awaitMs?: number | undefined },
) {
  const reader = new DocumentReader();
  const parts = {
    documents: new SqlDocumentStore(client),
    collections: new SqlCollectionStore(client),
    models: createEmbeddingModels(config),
    reader,
    makeId: () => randomUUID(),
  };
  return { ...parts, ingestion: new Ingestion({ ...parts, ...waiting }) };
}

/** What takes documents in and does the steps; the runner is not started yet. */
export function composeKnowledge(
  config: KnowledgeConfig & IndexConfig,
  database: SqlDatabase,
  logger: Logger,
  { awaitMs }: { awaitMs?: number } = {},
) {
  const { index, close: closeIndex, keep: keepIndex } = createIndex(config, database, logger);
  const queue = new SqlIngestionQueue(database);
  const revisions = new SqlCollectionRevisions(database);
  const parts = composeIngestion(config, database, { wake: () => runner.wake(), awaitMs });
  const runner = new IngestionRunner({
    queue,
    take: createTakeStep({ ...parts, queue, revisions, index }),
    tidy: async (signal) => {
      const onRebuild = (rebuild: object) => logger.info(rebuild, "a collection is built anew");
      await rebuildOutdated({ ...parts, queue, onRebuild }, signal);
      await rebuildEmpty({ ...parts, queue, index, onRebuild }, signal);
    },
    random: Math.random,
    onFailure: ({ error, step }) => {
      const { tenantId, collection, kind, documentId, attempts } = step ?? {};
      logger.warn({ tenantId, collection, kind, documentId, attempts, err: error }, "ingestion failed");
    },
  });
  const search = new KnowledgeSearch({
    ...{ index, collections: parts.collections, now, random: Math.random },
    findModel: (id) => parts.models.find(id),
    onFailure: (what, error) => logger.warn({ err: error }, `knowledge: the ${what} does not answer`),
  });
  const embedQuestion = createQuestionEmbedder({
    ...{ models: parts.models, now, random: Math.random },
    onFailure: (error) =>
      logger.warn({ err: error }, "the semantic cache: the embedding model does not answer"),
  });
  const stopping = new AbortController();
  let keeping: Promise<void> | undefined;
  return {
    index,
    search,
    revisions,
    embedQuestion,
    runner,
    ingestion: parts.ingestion,
    /** Begins with the work that waits; brings the project's documents up to date, and keeps the index in order. */
    start() {
      runner.start();
      keeping = keepIndex?.(stopping.signal);
      void syncUntilDone(parts.ingestion, logger, stopping.signal);
    },
    /** Gives back the steps under way. */
    async stop() {
      stopping.abort();
      await runner.stop();
      await keeping;
      await parts.reader.close();
      await closeIndex();
    },
  };
}

function createIndex(
  { MILVUS_ADDRESS: address, MILVUS_TOKEN: token }: IndexConfig,
  database: SqlDatabase,
  logger: Logger,
): { index: VectorIndex; close(): Promise<void>; keep?(signal: AbortSignal): Promise<void> } {
  if (address !== undefined) {
    const connection = new MilvusConnection({ address, token });
    return { index: new MilvusVectorIndex({ connection, now }), close: () => connection.close() };
  }
  const onMissing = (what: string, cause: unknown) => logger.warn({ err: cause }, what);
  const index = new PostgresVectorIndex({ database, now, onMissing });
  const onFailure = (error: unknown) =>
    logger.warn(
      { err: error },
      "knowledge: graphs of large collections could not be looked after; those that lack one are searched without it",
    );
  return {
    index,
    keep: async (signal) => index.graphs?.keep(onFailure, signal),
    close: async () => undefined,
  };
}

/** The agent `guide` answers from what it had, until this is done. */
async function syncUntilDone(ingestion: Ingestion, logger: Logger, signal: AbortSignal): Promise<void> {
  const { documents, skipped } = await readProjectDocuments(PROJECT_DIRECTORY);
  if (skipped.length > 0) logger.warn({ skipped }, "documents were left out");
  while (!signal.aborted) {
    try {
      const { put, deleted } = await syncProjectDocuments(ingestion, documents, signal);
      if (put.length + deleted.length > 0) {
        logger.info({ put: put.length, deleted: deleted.length }, "the project's documents have changed");
      }
      return;
    } catch (error) {
      if (signal.aborted) return;
      logger.warn({ err: error }, "the project's documents could not be taken in");
      await sleep(SYNC_RETRY_MS, signal).catch(() => undefined);
    }
  }
}

function now(): number {
  return performance.now();
}

function createEmbeddingModels(config: KnowledgeConfig): EmbeddingModels {
  return new EmbeddingModels({
    config: {
      openai: { apiKey: config.OPENAI_API_KEY, baseUrl: config.OPENAI_BASE_URL },
      ollama: { host: config.OLLAMA_HOST },
    },
    embeddingModel: config.EMBEDDING_MODEL,
  });
}
