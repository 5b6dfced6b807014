/**
 * What the edge is made of: adapters are chosen and built here and nowhere else, once for each environment object,
 * which the runtime keeps as long as the isolate. With it live the breakers, the caches and the readiness result.
 */
import { AttemptGuard } from "../core/auth/attempt-guard.ts";
import { createJwtVerifier } from "../core/auth/jwt.ts";
import { createCredentialVerifier, type VerifyCredential } from "../core/auth/verify-credential.ts";
import { CachedDirectory, type DirectoryCache } from "../core/directory/cached-directory.ts";
import type { Directory } from "../core/directory/directory.ts";
import type { SqlClient } from "../core/directory/sql-client.ts";
import { SqlDirectory } from "../core/directory/sql-directory.ts";
import { Admission } from "../core/limits/admission.ts";
import type { Limiter } from "../core/limits/limiter.ts";
import type { Clock } from "../core/resilience/deadline.ts";
import { AddressBreaker } from "./backend/address-breaker.ts";
import { AddressPool } from "./backend/address-pool.ts";
import type { AgentBackend } from "./backend/agent-backend.ts";
import { checkBackendHealth } from "./backend/backend-health.ts";
import { createBackendTransport } from "./backend/backend-transport.ts";
import { ConnectAgentBackend, createAgentClient } from "./backend/connect-agent-backend.ts";
import { ConnectKnowledgeBackend, createKnowledgeClient } from "./backend/connect-knowledge-backend.ts";
import type { KnowledgeBackend } from "./backend/knowledge-backend.ts";
import { NeonSqlClient } from "./directory/neon-sql-client.ts";
import { type EdgeConfig, readEdgeConfig } from "./env.ts";
import { type Dependency, Readiness } from "./health/readiness.ts";
import { jsonLine } from "./http/json-line.ts";
import { createEdgeLimiter } from "./limits/edge-limiter.ts";
import { PeerBackend } from "./peers/peer-backend.ts";
import { RoutedBackend } from "./peers/routed-backend.ts";

/** Everything that routes work with. */
export interface Composition {
  readonly config: EdgeConfig;
  readonly directory: Directory;
  /** What to tell of a change, so that this isolate sees it at once; undefined where nothing is cached. */
  readonly directoryCache: DirectoryCache | undefined;
  /** For administration, which reads and writes what is stored now. */
  readonly sql: SqlClient;
  readonly verifyCredential: VerifyCredential;
  readonly backend: AgentBackend;
  readonly knowledge: KnowledgeBackend;
  readonly admission: Admission;
  readonly readiness: Readiness;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  /** Unix epoch, milliseconds. */
  readonly now: Clock;
}

/** The composition of an environment; throws ConfigurationError when it is not usable. */
export type Compose = (env: object) => Composition;

/** What stands outside the Worker; tests bring their own. */
export interface CompositionParts {
  directory: Directory;
  directoryCache?: DirectoryCache;
  sql: SqlClient;
  limiter: Limiter;
  /** Resolves when the database answers. */
  checkDatabase(signal: AbortSignal): Promise<unknown>;
  /** The Worker's bindings, where peers' mailboxes are; without them there are no peers. */
  env?: object;
  fetch: typeof globalThis.fetch;
  /** Uniform in [0, 1). */
  random: () => number;
  /** Unix epoch, milliseconds. */
  now: Clock;
}

/**
 * Composes each environment object once, also when that fails: a configuration does not become usable while an
 * isolate runs.
 */
export function composeOnce(build: Compose): Compose {
  const outcomes = new WeakMap<object, { composition: Composition } | { error: unknown }>();
  return (env) => {
    let outcome = outcomes.get(env);
    if (!outcome) {
      try {
        outcome = { composition: build(env) };
      } catch (error) {
        outcome = { error };
      }
      outcomes.set(env, outcome);
    }
    if ("error" in outcome) throw outcome.error;
    return outcome.composition;
  };
}

/** The Worker's own composition: Neon behind a cache, and the platform's fetch. */
export function productionCompose(writeLine: (line: string) => void): Compose {
  return composeOnce((env) => {
    const config = readEdgeConfig(env);
    const sql = new NeonSqlClient({
      connectionString: config.databaseUrl,
      ...(config.databaseEndpoint !== undefined && { fetchEndpoint: config.databaseEndpoint }),
    });
    const stored = new SqlDirectory(sql, (agent) => {
      writeLine(
        jsonLine({ level: "warn", msg: "an agent is left out: its configuration is invalid", ...agent }),
      );
    });
    const directory = new CachedDirectory(stored, { now: Date.now, coalesce: false });
    return createComposition(config, {
      directory,
      directoryCache: directory,
      sql,
      limiter: createEdgeLimiter(config, env, writeLine),
      checkDatabase: (signal) => sql.query("SELECT 1", [], signal),
      env,
      // Called through the global: workerd's fetch refuses to be called as a method of something else.
      fetch: (input, init) => globalThis.fetch(input, init),
      random: Math.random,
      now: Date.now,
    });
  });
}

/** Puts the parts together. */
export function createComposition(config: EdgeConfig, parts: CompositionParts): Composition {
  const addresses = config.backendUrls.map((url) => {
    const transport = createBackendTransport(url, parts.fetch);
    return {
      name: new URL(url).host,
      breaker: new AddressBreaker(parts.now),
      agent: createAgentClient(transport),
      knowledge: createKnowledgeClient(transport),
      check: (signal: AbortSignal) => checkBackendHealth(transport, signal),
    };
  });
  const dependencies: Dependency[] = [
    { name: "database", kind: "database", check: parts.checkDatabase },
    ...addresses.map(({ name, check }): Dependency => ({ name: `backend ${name}`, kind: "backend", check })),
  ];
  const backendParts = {
    pool: new AddressPool(addresses, parts.random),
    tokenSecret: config.backendTokenSecret,
    random: parts.random,
    now: parts.now,
  };
  return {
    config,
    directory: parts.directory,
    directoryCache: parts.directoryCache,
    sql: parts.sql,
    verifyCredential: createCredentialVerifier({
      directory: parts.directory,
      verifyJwt: config.jwt && createJwtVerifier(config.jwt, { fetch: parts.fetch, now: parts.now }),
      attempts: new AttemptGuard(parts.now),
      now: parts.now,
    }),
    backend: withPeers(new ConnectAgentBackend(backendParts), parts),
    knowledge: new ConnectKnowledgeBackend(backendParts),
    admission: new Admission(parts.limiter),
    readiness: new Readiness(dependencies, parts.now),
    random: parts.random,
    now: parts.now,
  };
}

function withPeers(agents: AgentBackend, { env, directory }: CompositionParts): AgentBackend {
  return env ? new RoutedBackend({ env, agents, peers: new PeerBackend(env, directory), directory }) : agents;
}
