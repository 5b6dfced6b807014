/** Everything that the backend's port serves, as one handler for HTTP/1.1 and HTTP/2. */
import { connectNodeAdapter } from "@connectrpc/connect-node";
import type { CryptoKey } from "jose";
import type { Logger } from "pino";
import type { Directory } from "../../core/directory/directory.ts";
import { Health } from "../../proto/gen/grpc/health/v1/health_pb.js";
import { AgentService } from "../../proto/gen/parley/v1/agent_service_pb.js";
import type { RequestHandler } from "../server.ts";
import type { TaskEngine } from "../tasks/task-engine.ts";
import { createAgentService } from "./agent-service.ts";
import { createErrorInterceptor } from "./error-interceptor.ts";
import { createHealthService, type HealthStatus } from "./health-service.ts";
import { routeReflection } from "./reflection-service.ts";
import { createRequestGate } from "./request-gate.ts";
import { createValidate } from "./validate.ts";

/** Smaller messages cost more processor time to compress than network time to send. */
const COMPRESS_BYTES_MIN = 16 * 1024;

/** What is served, and within which limits. */
export interface RequestHandlerOptions {
  engine: TaskEngine;
  directory: Directory;
  health: HealthStatus;
  logger: Logger;
  /** Undefined when this backend has no edge. */
  backendTokenKey: CryptoKey | undefined;
  reflection: boolean;
  /** Largest message read or written, bytes. */
  messageBytesMax: number;
  /** Longest timeout that a caller may ask for, milliseconds. */
  timeoutMsMax: number;
  /** Ends every call in flight with the error that is its reason. */
  shutdownSignal: AbortSignal;
  /** Unix epoch, milliseconds. */
  now: () => number;
  /** Monotonic, milliseconds. */
  monotonicNow: () => number;
}

/** Makes the handler. */
export function createRequestHandler(options: RequestHandlerOptions): RequestHandler {
  const { engine, directory, health, logger, backendTokenKey, now } = options;
  const requestGate = createRequestGate({
    directory,
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
    if (!caller?.principal) logger.debug(fields, "call ended");
    else if (!error) logger.info(fields, "call ended");
    else logger.warn({ ...fields, code: error.code, err: error.cause ?? error }, "call failed");
  }, options.monotonicNow);

  return connectNodeAdapter({
    requestGate,
    interceptors: [interceptor],
    readMaxBytes: options.messageBytesMax,
    writeMaxBytes: options.messageBytesMax,
    compressMinBytes: COMPRESS_BYTES_MIN,
    maxTimeoutMs: options.timeoutMsMax,
    shutdownSignal: options.shutdownSignal,
    routes(router) {
      router.service(AgentService, createAgentService({ engine, validate: createValidate() }));
      router.service(Health, createHealthService(health));
      if (options.reflection) routeReflection(router, [AgentService, Health]);
    },
  });
}
