/**
 * The composition root of the backend: the only place that knows which adapters are in use. Starts what has to run
 * and ends it in the right order.
 */

import { setTimeout as setTimeoutPromise } from "node:timers/promises";
import { Code, ConnectError } from "@connectrpc/connect";
import type { Logger } from "pino";
import { AttemptGuard } from "../core/auth/attempt-guard.ts";
import { importBackendTokenSecret } from "../core/auth/backend-token.ts";
import { createJwtVerifier } from "../core/auth/jwt.ts";
import { createCredentialVerifier } from "../core/auth/verify-credential.ts";
import { CachedDirectory } from "../core/directory/cached-directory.ts";
import { SqlDirectory } from "../core/directory/sql-directory.ts";
import { sleep } from "../core/resilience/full-jitter.ts";
import { AgentService } from "../proto/gen/parley/v1/agent_service_pb.js";
import { KnowledgeService } from "../proto/gen/parley/v1/knowledge_service_pb.js";
import { createAgentRunners } from "./agents/agent-runners.ts";
import type { ModelAgentDependencies } from "./agents/model-agent.ts";
import { createPeerAgent } from "./agents/peer-agent.ts";
import { composeAnswerCache, composeConversations } from "./compose-conversations.ts";
import { composeKnowledge } from "./compose-knowledge.ts";
import { composeTasks } from "./compose-tasks.ts";
import type { BackendConfig } from "./config.ts";
import type { PassageRetriever } from "./knowledge/passage-retriever.ts";
import { createBackendLimiter } from "./limits/backend-limiter.ts";
import { ModelManager } from "./llm/model-manager.ts";
import { ModelRegistry } from "./llm/model-registry.ts";
import { ProviderHealth } from "./llm/provider-health.ts";
import { createTokenCounter } from "./llm/token-counter.ts";
import { type OpenDatabase, openDatabase } from "./open-database.ts";
import { openRedis } from "./open-redis.ts";
import { hashSecretWithNode } from "./rpc/hash-secret-with-node.ts";
import { HealthStatus } from "./rpc/health-service.ts";
import { createRequestHandler } from "./rpc/request-handler.ts";
import { listen } from "./server.ts";
import { GroupCommitLog, type LogStore } from "./stores/message-log.ts";
import { migrate, readMigrations } from "./stores/migrate.ts";
import { Retention } from "./stores/retention.ts";
import { seedDevelopmentKey, seedDirectory } from "./stores/seed.ts";
import { SqlMessageLogStore } from "./stores/sql-message-log.ts";
import { createLogTurnRecorder } from "./tasks/log-turn-recorder.ts";
import { createRunTurn } from "./tasks/run-turn.ts";
import { TaskEngine } from "./tasks/task-engine.ts";

/** A backend that serves. */
export interface Backend {
  readonly port: number;
  readonly edgeAccess: OpenDatabase["edgeAccess"];
  /** Ends it: turns in flight get `graceMs`, what was recorded is written, everything is closed. */
  drain(graceMs: number): Promise<void>;
}

/** What may be other than the configuration makes it. */
export interface BackendParts {
  /** Where the durable log's batches go; default: the database. */
  readonly logStore?: LogStore;
}

/** After the last turn has ended, its answer has this long to reach its caller. */
const ANSWER_FLUSH_MS = 1_000;
/** A Redis that is there answers at once; one that is not must not keep the backend from starting. */
const REDIS_START_WAIT_MS = 5_000;
/** What waits to be recorded has this long to be written. */
const LOG_DRAIN_MS = 5_000;

/** Builds and starts everything; what was started is ended again when a later part fails. */
export async function composeBackend(
  config: BackendConfig,
  logger: Logger,
  parts: BackendParts = {},
): Promise<Backend> {
  const database = await openDatabase(config, logger);
  try {
    return await serve({ config, logger, database, parts });
  } catch (error) {
    await database.close();
    throw error;
  }
}

interface Opened {
  config: BackendConfig;
  logger: Logger;
  database: OpenDatabase;
  parts: BackendParts;
}

async function serve({ config, logger, database, parts }: Opened): Promise<Backend> {
  await prepareDatabase(config, logger, database);
  const monotonicNow = () => performance.now();
  const stored = new SqlDirectory(database.client, (agent) =>
    logger.warn(agent, "an agent is left out: its configuration is invalid"),
  );
  const directory = new CachedDirectory(stored, { now: monotonicNow, coalesce: true });
  const log = new GroupCommitLog({
    store: parts.logStore ?? new SqlMessageLogStore(database.client.relaxed),
    now: monotonicNow,
    random: Math.random,
    onFailure: ({ error, ...failure }) => logger.error({ ...failure, err: error }, "the message log failed"),
  });
  const redis = openRedis(config, logger);
  const backendId = crypto.randomUUID();
  const counter = createTokenCounter();
  const knowledge = composeKnowledge(config, database.client, logger);
  const models = { ...createModelDependencies(config, logger, knowledge.search), counter };
  const { memory, summarizer } = composeConversations({
    ...{ client: database.client, redis, models, log, logger },
    now: monotonicNow,
  });
  const recorder = createLogTurnRecorder(log, Date.now, backendId);
  const engine = new TaskEngine({
    directory,
    recordQuestion: (task) => recorder.question(task),
    ...composeTasks({ client: database.client, redis, backendId, config, logger }),
    logger,
    run: createRunTurn({
      runners: createAgentRunners({
        ...models,
        ...composeAnswerCache(redis, knowledge.embedQuestion, monotonicNow),
        revisions: knowledge.revisions,
        peers: createPeerAgent({
          edgeUrl: config.EDGE_URL,
          tokenSecret: config.BACKEND_TOKEN_SECRET,
          fetch: globalThis.fetch,
          now: Date.now,
        }),
      }),
      memory,
      summarizer,
      recorder,
      logger,
      now: monotonicNow,
    }),
    turnTimeoutMs: config.TURN_TIMEOUT_MS,
    tasksInFlightMax: config.TASKS_IN_FLIGHT_MAX,
    canRecord: (tenantId) => log.hasRoom(tenantId),
    now: Date.now,
    monotonicNow,
  });
  const retention = new Retention({
    client: database.client,
    now: Date.now,
    random: Math.random,
    onDeleted: (deleted) => logger.info({ deleted }, "old rows deleted"),
    onFailure: (error) => logger.warn({ err: error }, "old rows could not be deleted"),
  });
  const health = new HealthStatus([AgentService.typeName, KnowledgeService.typeName]);
  const shutdown = new AbortController();
  const secret = config.BACKEND_TOKEN_SECRET;
  const handler = createRequestHandler({
    engine,
    ingestion: knowledge.ingestion,
    search: knowledge.search,
    limiter: createBackendLimiter(config, logger),
    verifyCredential: createCredentialVerifier({
      directory,
      verifyJwt: config.jwt && createJwtVerifier(config.jwt, { fetch, now: Date.now }),
      attempts: new AttemptGuard(monotonicNow),
      now: Date.now,
      hashSecret: hashSecretWithNode,
    }),
    health,
    logger,
    backendTokenKey: secret === undefined ? undefined : await importBackendTokenSecret(secret),
    reflection: config.GRPC_REFLECTION,
    messageBytesMax: config.MESSAGE_BYTES_MAX,
    shutdownSignal: shutdown.signal,
    now: Date.now,
    monotonicNow,
  });
  // What the database knows is asked before what callers may send again.
  await redis?.ready(AbortSignal.timeout(REDIS_START_WAIT_MS)).catch(() => {});
  await engine.recover().catch((error) => logger.error({ err: error }, "tasks could not be taken up"));
  const server = await listen(handler, config.BACKEND_HOST, config.BACKEND_PORT);

  retention.start();
  knowledge.start();
  // Loads the vocabulary, half a second of work, before the first message needs it.
  void counter.count("parley");

  return {
    port: server.port,
    edgeAccess: database.edgeAccess,
    async drain(graceMs) {
      health.stopServing();
      server.stopAccepting();
      const grace = AbortSignal.timeout(graceMs);
      await engine.drain(grace);
      // Replies are on their way now; whoever still holds a connection open after the grace period loses it.
      const cut = setTimeout(() => shutdown.abort(shuttingDown()), ANSWER_FLUSH_MS);
      await Promise.race([server.closed, setTimeoutPromise(2 * ANSWER_FLUSH_MS)]);
      clearTimeout(cut);
      server.destroy();
      await Promise.all([retention.stop(), summarizer.close(), knowledge.stop()]);
      const lost = await log.drain(AbortSignal.timeout(LOG_DRAIN_MS));
      if (lost > 0) logger.error({ rows: lost }, "the database did not take all that waited to be recorded");
      redis?.close();
      await database.close();
    },
  };
}

async function prepareDatabase(
  config: BackendConfig,
  logger: Logger,
  { client }: OpenDatabase,
): Promise<void> {
  const applied = await migrate(client, await readMigrations());
  if (applied.length > 0) logger.info({ applied }, "database migrated");
  await seedDirectory(client);
  if (config.DEVELOPMENT_KEY_FILE === undefined) return;
  const { isNew } = await seedDevelopmentKey(client, config.DEVELOPMENT_KEY_FILE, Date.now());
  if (isNew) logger.info({ file: config.DEVELOPMENT_KEY_FILE }, "development key made");
}

function createModelDependencies(config: BackendConfig, logger: Logger, retriever: PassageRetriever) {
  const now = () => performance.now();
  const registry = new ModelRegistry({
    config: {
      openai: { apiKey: config.OPENAI_API_KEY, baseUrl: config.OPENAI_BASE_URL, model: config.OPENAI_MODEL },
      ollama: {
        host: config.OLLAMA_HOST,
        model: config.OLLAMA_MODEL,
        concurrencyMax: config.OLLAMA_CONCURRENCY_MAX,
      },
    },
    now,
  });
  const health = new ProviderHealth({
    now,
    random: Math.random,
    onChange: (change) =>
      change.state === "open"
        ? logger.warn(change, "a model keeps failing and is left alone for a while")
        : logger.info(change, "a model answers again"),
  });
  const managerFor: ModelAgentDependencies["managerFor"] = ({ requestId, agent, onAttempt }) =>
    new ModelManager({
      now,
      random: Math.random,
      sleep,
      health,
      onAttempt: (attempt, failure) => {
        onAttempt(attempt);
        if (attempt.outcome === "answered") return;
        const fields = { requestId, tenantId: agent.tenantId, agentId: agent.id, ...attempt };
        if (failure) logger.warn({ ...fields, err: failure.cause ?? failure }, "model attempt failed");
        else logger.info(fields, "model attempt ended without an answer");
      },
    });
  return { registry, retriever, managerFor };
}

function shuttingDown(): ConnectError {
  return new ConnectError("this backend is shutting down; try again", Code.Unavailable);
}
