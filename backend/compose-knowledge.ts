/** Builds what keeps and indexes documents. */
import { randomUUID } from "node:crypto";
import type { Logger } from "pino";
import type { SqlClient } from "../core/directory/sql-client.ts";
import type { BackendConfig } from "./config.ts";
import { DocumentReader } from "./knowledge/document-reader.ts";
import { Ingestion } from "./knowledge/ingestion.ts";
import { IngestionRunner } from "./knowledge/ingestion-runner.ts";
import { PostgresVectorIndex } from "./knowledge/postgres-vector-index.ts";
import { rebuildOutdated } from "./knowledge/rebuild.ts";
import { createTakeStep } from "./knowledge/take-step.ts";
import type { VectorIndex } from "./knowledge/vector-index.ts";
import { EmbeddingModels } from "./llm/embedding-models.ts";
import { SqlCollectionStore } from "./stores/sql-collection-store.ts";
import type { SqlDatabase } from "./stores/sql-database.ts";
import { SqlDocumentStore } from "./stores/sql-document-store.ts";
import { SqlIngestionQueue } from "./stores/sql-ingestion-queue.ts";

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
  config: KnowledgeConfig,
  database: SqlDatabase,
  logger: Logger,
  { awaitMs }: { awaitMs?: number } = {},
) {
  const index: VectorIndex = new PostgresVectorIndex({
    database,
    now: () => performance.now(),
    onMissing: (what, cause) => logger.warn({ err: cause }, what),
  });
  const queue = new SqlIngestionQueue(database);
  const parts = composeIngestion(config, database, { wake: () => runner.wake(), awaitMs });
  const runner = new IngestionRunner({
    queue,
    take: createTakeStep({ ...parts, queue, index }),
    tidy: (signal) =>
      rebuildOutdated(
        { ...parts, queue, onRebuild: (rebuild) => logger.info(rebuild, "a collection is built anew") },
        signal,
      ),
    random: Math.random,
    onFailure: ({ error, step }) => {
      const { tenantId, collection, kind, documentId, attempts } = step ?? {};
      logger.warn({ tenantId, collection, kind, documentId, attempts, err: error }, "ingestion failed");
    },
  });
  return {
    index,
    runner,
    ingestion: parts.ingestion,
    models: parts.models,
    collections: parts.collections,
    /** Gives back the steps under way. */
    async stop() {
      await runner.stop();
      await parts.reader.close();
    },
  };
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
