/** A backend on a loopback port with real callers' keys and a scripted or echoing agent; no database. */
import { createClient, type Transport } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import type { CryptoKey } from "jose";
import { pino } from "pino";
import { createEchoAgent } from "../../../backend/agents/echo-agent.ts";
import { HealthStatus } from "../../../backend/rpc/health-service.ts";
import { createRequestHandler, type RequestHandlerOptions } from "../../../backend/rpc/request-handler.ts";
import { listen } from "../../../backend/server.ts";
import { generateApiKey, hashSecret } from "../../../core/auth/api-key.ts";
import { AttemptGuard } from "../../../core/auth/attempt-guard.ts";
import { importBackendTokenSecret } from "../../../core/auth/backend-token.ts";
import type { VerifyJwt } from "../../../core/auth/jwt.ts";
import { createCredentialVerifier } from "../../../core/auth/verify-credential.ts";
import type { ApiKeyRecord, Directory } from "../../../core/directory/directory.ts";
import { MemoryLimiter } from "../../../core/limits/memory-limiter.ts";
import { Health } from "../../../proto/gen/grpc/health/v1/health_pb.js";
import { AgentService } from "../../../proto/gen/parley/v1/agent_service_pb.js";
import { ann, createEngine, directory } from "../tasks/engine-fixture.ts";

/** Secret shared with the edge in these tests. */
export const BACKEND_TOKEN_SECRET = "a-secret-for-tests-only-of-at-least-32-bytes";

/** What a test may bring of its own. */
export type BackendOverrides = Partial<RequestHandlerOptions> & {
  verifyJwt?: VerifyJwt;
  attempts?: AttemptGuard;
  /** Puts something in front of the directory, its cache for instance. */
  wrapDirectory?: (directory: Directory) => Directory;
};

/** Starts a backend; `stop` ends it. */
export async function startBackend(
  engine = createEngine(createEchoAgent()),
  { verifyJwt, attempts, wrapDirectory, ...overrides }: BackendOverrides = {},
) {
  const key = generateApiKey((bytes) => crypto.getRandomValues(bytes));
  const record: ApiKeyRecord = {
    ...ann,
    keyId: key.keyId,
    secretSha256: await hashSecret(key.secret),
    expiresAtMs: undefined,
    revokedAtMs: undefined,
    limits: {},
    tenantLimits: {},
  };
  const records = new Map([[key.keyId, record]]);
  const keyDirectory: Directory = { ...directory, findApiKey: async (keyId) => records.get(keyId) };
  const backendTokenKey: CryptoKey = await importBackendTokenSecret(BACKEND_TOKEN_SECRET);
  const logs: Record<string, unknown>[] = [];
  const logger = pino({ level: "debug" }, { write: (line: string) => void logs.push(JSON.parse(line)) });
  const health = new HealthStatus([AgentService.typeName]);
  const shutdown = new AbortController();
  const handler = createRequestHandler({
    engine,
    limiter: new MemoryLimiter(Date.now),
    verifyCredential: createCredentialVerifier({
      directory: wrapDirectory?.(keyDirectory) ?? keyDirectory,
      verifyJwt,
      attempts: attempts ?? new AttemptGuard(Date.now),
      now: overrides.now ?? Date.now,
    }),
    health,
    logger,
    backendTokenKey,
    reflection: true,
    messageBytesMax: 100_000,
    shutdownSignal: shutdown.signal,
    now: Date.now,
    monotonicNow: () => performance.now(),
    ...overrides,
  });
  const server = await listen(handler, "127.0.0.1", 0);
  const baseUrl = `http://127.0.0.1:${server.port}`;
  const transports = {
    grpc: createGrpcTransport({ baseUrl }),
    "grpc-web": createGrpcWebTransport({ baseUrl, httpVersion: "1.1" }),
    connect: createConnectTransport({ baseUrl, httpVersion: "1.1" }),
  } satisfies Record<string, Transport>;
  return {
    baseUrl,
    server,
    health,
    logs,
    records,
    key,
    backendTokenKey,
    transports,
    headers: { authorization: `Bearer ${key.text}` },
    agents: (transport: Transport = transports.grpc) => createClient(AgentService, transport),
    healthClient: createClient(Health, transports.grpc),
    async stop() {
      shutdown.abort();
      server.destroy();
      await server.closed;
    },
  };
}
