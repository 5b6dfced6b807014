/** The edge's application as it is, on an in-memory directory and with its log kept in an array. */
import { CachedDirectory } from "../../../core/directory/cached-directory.ts";
import { MemoryLimiter } from "../../../core/limits/memory-limiter.ts";
import { createApp } from "../../../edge/app.ts";
import { composeOnce, createComposition } from "../../../edge/composition.ts";
import { readEdgeConfig } from "../../../edge/env.ts";
import { directoryWithAgents, emptyDatabase, type MemoryDirectory } from "./memory-directory.ts";

/** An environment that is usable but for the backend's address. */
export const TEST_ENV = {
  BACKEND_URLS: "http://127.0.0.1:9",
  BACKEND_TOKEN_SECRET: "a-secret-of-the-tests-that-is-long-enough",
  DATABASE_URL: "postgres://parley:hunter2@db.example/parley",
};

/** In Node, nothing ends work that goes on after the answer. */
const EXECUTION_CONTEXT = { waitUntil: () => {}, passThroughOnException: () => {}, props: {} };

/** The body of an error answer. */
export interface ErrorAnswer {
  error: {
    code: string;
    message: string;
    requestId: string;
    reason?: string;
    retryAfterSeconds?: number;
    details?: Record<string, unknown>;
  };
}

/** The application and what surrounds it. */
export interface EdgeHarness {
  directory: MemoryDirectory;
  /** A key of `alice` in tenant `default`, without `messages:send-as` and `agents:write`. */
  apiKey: string;
  /** Lines of the log, parsed. */
  lines: Record<string, unknown>[];
  /** What the edge's clock is ahead of the real one. */
  clock: { aheadMs: number };
  database: { failing: boolean; checks: number };
  request(path: string, init?: RequestInit): Promise<Response>;
  /** Posts a message as `alice`; an object goes out as JSON. */
  post(body: unknown, init?: RequestInit): Promise<Response>;
}

/**
 * @param variables are laid over {@link TEST_ENV}
 * @param options `cached`: the directory is behind its cache, as in the Worker
 */
export async function createEdgeHarness(
  variables: Record<string, string> = {},
  options: { cached?: boolean } = {},
): Promise<EdgeHarness> {
  const env = { ...TEST_ENV, ...variables };
  const directory = directoryWithAgents();
  const apiKey = await directory.addKey();
  const lines: Record<string, unknown>[] = [];
  const database = { failing: false, checks: 0 };
  const clock = { aheadMs: 0 };
  const now = () => Date.now() + clock.aheadMs;
  const compose = composeOnce((environment) =>
    createComposition(readEdgeConfig(environment), {
      directory: options.cached ? new CachedDirectory(directory, { now, coalesce: false }) : directory,
      sql: emptyDatabase,
      limiter: new MemoryLimiter(now),
      checkDatabase: async () => {
        database.checks += 1;
        if (database.failing) throw new Error("postgres://parley:hunter2@db.example is away");
      },
      fetch: (input, init) => fetch(input, init),
      random: () => 0,
      now,
    }),
  );
  const app = createApp({ compose, writeLine: (line) => lines.push(JSON.parse(line)), now });
  const request = async (path: string, init?: RequestInit) => app.request(path, init, env, EXECUTION_CONTEXT);
  return {
    directory,
    apiKey,
    lines,
    clock,
    database,
    request,
    post: (body, init = {}) =>
      request("/api/v1/a2a/message", {
        method: "POST",
        body: typeof body === "string" ? body : JSON.stringify(body),
        ...init,
        headers: {
          authorization: `Bearer ${apiKey}`,
          "content-type": "application/json",
          ...(init.headers as Record<string, string> | undefined),
        },
      }),
  };
}

/** Calls until a condition holds; fails after a second. */
export async function eventually(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 200; i++) {
    if (condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  throw new Error("it did not happen within a second");
}
