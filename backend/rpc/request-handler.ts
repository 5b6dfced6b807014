/** Everything that the backend's port serves, as one handler for HTTP/1.1 and HTTP/2. */
import { Code } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import type { CryptoKey } from "jose";
import type { Logger } from "pino";
import type { VerifyCredential } from "../../core/auth/verify-credential.ts";
import { DOCUMENT_MESSAGE_BYTES_MAX } from "../../core/knowledge/document-size.ts";
import type { Limiter } from "../../core/limits/limiter.ts";
import { file_google_rpc_error_details } from "../../proto/gen/google/rpc/error_details_pb.js";
import { Health } from "../../proto/gen/grpc/health/v1/health_pb.js";
import { AgentService } from "../../proto/gen/parley/v1/agent_service_pb.js";
import { KnowledgeService } from "../../proto/gen/parley/v1/knowledge_service_pb.js";
import type { Ingestion } from "../knowledge/ingestion.ts";
import type { PassageRetriever } from "../knowledge/passage-retriever.ts";
import { CallLimits } from "../limits/call-limits.ts";
import { ANSWER_CHARACTERS_MAX } from "../llm/model-attempt.ts";
import type { RequestHandler } from "../server.ts";
import type { TaskEngine } from "../tasks/task-engine.ts";
import { createAgentService } from "./agent-service.ts";
import { createErrorInterceptor } from "./error-interceptor.ts";
import { createHealthService, type HealthStatus } from "./health-service.ts";
import { createKnowledgeService } from "./knowledge-service.ts";
import { routeReflection } from "./reflection-service.ts";
import { connectionValues, createRequestGate } from "./request-gate.ts";
import { createValidate } from "./validate.ts";

/** Smaller messages cost more processor time to compress than network time to send. */
const COMPRESS_BYTES_MIN = 16 * 1024;

/** Failures that an operator should look at; the others are the callers' own. */
const OUR_FAILURES: readonly Code[] = [Code.Internal, Code.Unknown, Code.DataLoss];

/** The longest answer in UTF-8, once as content and once as `text`, and room for what else a reply has. */
const REPLY_BYTES_MAX = 2 * 3 * ANSWER_CHARACTERS_MAX + 4 * 1024 * 1024;

/** What is served, and within which limits. */
export interface RequestHandlerOptions {
  engine: TaskEngine;
  /** Without it, KnowledgeService is not offered. */
  ingestion?: Ingestion;
  /** What KnowledgeService searches with; both or neither. */
  search?: PassageRetriever;
  /** Counts the callers that are not an edge. */
  limiter: Limiter;
  verifyCredential: VerifyCredential;
  health: HealthStatus;
  logger: Logger;
  /** Undefined when this backend has no edge. */
  backendTokenKey: CryptoKey | undefined;
  reflection: boolean;
  /** Largest message read, bytes. */
  messageBytesMax: number;
  /** Ends every call in flight with the error that is its reason. */
  shutdownSignal: AbortSignal;
  /** Unix epoch, milliseconds. */
  now: () => number;
  /** Monotonic, milliseconds. */
  monotonicNow: () => number;
  /** After which an open call's credential is verified again, milliseconds. Default: 10 s. */
  verifyAgainMs?: number;
}

/** Makes the handler. */
export function createRequestHandler(options: RequestHandlerOptions): RequestHandler {
  const { engine, verifyCredential, health, logger, backendTokenKey, now } = options;
  const requestGate = createRequestGate({
    verifyCredential,
    backendTokenKey,
    now,
    onRefused: (refusal) => logger.warn(refusal, "caller refused"),
  });
  const interceptor = createErrorInterceptor(({ procedure, caller, durationMs, error }) => {
    const fields = {
      procedure,
      requestId: caller?.requestId,
      traceId: caller?.trace.traceId,
      tenantId: caller?.principal?.tenantId,
      subject: caller?.principal?.subject,
      keyId: caller?.principal?.keyId,
      durationMs: Math.round(durationMs),
    };
    if (!caller?.principal) return logger.debug(fields, "call ended");
    if (!error) return logger.info(fields, "call ended");
    const failure = { ...fields, code: Code[error.code], message: error.rawMessage };
    if (OUR_FAILURES.includes(error.code)) logger.error({ ...failure, err: error.cause }, "call failed");
    else logger.info(failure, "call failed");
  }, options.monotonicNow);

  const limits = new CallLimits(options.limiter);
  const { monotonicNow, verifyAgainMs } = options;
  const validate = createValidate();
  const service = createAgentService({ engine, limits, validate, now: monotonicNow, verifyAgainMs });
  return connectNodeAdapter({
    requestGate,
    contextValues: connectionValues,
    interceptors: [interceptor],
    readMaxBytes: options.messageBytesMax,
    writeMaxBytes: REPLY_BYTES_MAX,
    compressMinBytes: COMPRESS_BYTES_MIN,
    shutdownSignal: options.shutdownSignal,
    routes(router) {
      router.service(AgentService, service);
      if (options.ingestion && options.search) {
        const knowledge = createKnowledgeService({
          ...{ ingestion: options.ingestion, search: options.search },
          ...{ limits, validate },
        });
        router.service(KnowledgeService, knowledge, { readMaxBytes: DOCUMENT_MESSAGE_BYTES_MAX });
      }
      router.service(Health, createHealthService(health));
      if (options.reflection)
        routeReflection(router, [AgentService, KnowledgeService, Health], [file_google_rpc_error_details]);
    },
  });
}
