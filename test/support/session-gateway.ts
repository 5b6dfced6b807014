/**
 * The edge with its sessions in the real workerd, before a scripted backend and a directory of a few keys. Two ways of
 * running it: plain workerd, as `npm start` does, which can be stopped and started anew on the same storage; and
 * wrangler's harness, which can put single objects out of memory.
 */
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { createTestHarness } from "wrangler";
import type { SessionTimings } from "../../edge/sessions/session-limits.ts";
import { OFFLINE_ENVIRONMENT } from "../../scripts/wrangler.ts";
import { TEST_ENV } from "../edge/support/edge-harness.ts";
import { type FakeNeon, startFakeNeon } from "../edge/support/fake-neon.ts";
import { type ScriptedBackend, startScriptedBackend } from "../edge/support/scripted-backend.ts";
import { ScriptedTasks } from "./scripted-tasks.ts";
import { buildDeployedWorker, startWorkerd } from "./workerd.ts";

const PROJECT_DIRECTORY = fileURLToPath(new URL("../..", import.meta.url));

/** What a test's gateway can be told. */
export interface SessionGatewayOptions {
  timings?: Partial<SessionTimings>;
  variables?: Record<string, string>;
  /** Where its storage and its files go. Default: the system's folder for such. */
  parentDirectory?: string;
}

/** What `POST /api/v1/a2a/sessions` answers. */
export interface OpenedSession {
  sessionId: string;
  path: string;
  ticket: string;
  resumeToken: string;
  limits: { frameBytesMax: number };
}

/** See above. */
export interface SessionGateway {
  readonly url: string;
  readonly neon: FakeNeon;
  readonly backend: ScriptedBackend;
  readonly tasks: ScriptedTasks;
  /** Asks for a session as the owner of a key; of `alice` when none is given. */
  openSession(body?: object, apiKey?: string): Promise<OpenedSession>;
  /** The Worker's output. */
  logs(): string[];
  stop(): Promise<void>;
}

/** One whose process can be ended. */
export interface RestartableGateway extends SessionGateway {
  /** Of workerd's process group, as it is now. */
  readonly pid: number;
  /** Ends workerd and starts it anew, on the same port and storage: what a deployment does to connections. */
  restart(): Promise<void>;
}

/** One whose objects can be put out of memory. */
export interface EvictableGateway extends SessionGateway {
  /** Ends an object in the middle of whatever it does, and its connections with it. */
  crash(sessionId: string): Promise<void>;
  /** When it has nothing to do; with or without the session's connections. */
  evict(sessionId: string, webSockets: "hibernate" | "close"): Promise<void>;
  /** Rows of a session's storage. */
  query(sessionId: string, sql: string): Promise<Record<string, unknown>[]>;
  /** The same of the object that knows all sessions of a key. */
  queryCaller(keyId: string, sql: string): Promise<Record<string, unknown>[]>;
}

/** Plain workerd. */
export async function startSessionGateway(options: SessionGatewayOptions = {}): Promise<RestartableGateway> {
  const parts = await startParts(options);
  const { directory, configPath, variables } = parts;
  const bundle = await buildDeployedWorker(join(directory, "worker"), configPath);
  const storageDirectory = join(directory, "storage");
  await mkdir(storageDirectory);
  const logs: string[] = [];
  const start = (port?: number) =>
    startWorkerd({
      modulePath: bundle.path,
      bindings: { ...TEST_ENV, ...variables },
      storageDirectory,
      ...(port !== undefined && { port }),
    });
  let workerd = await start();
  const { url } = workerd;
  return {
    ...gatewayOf(url, parts),
    logs: () => [...logs, ...workerd.logs],
    get pid() {
      return workerd.pid;
    },
    async restart() {
      logs.push(...workerd.logs);
      await workerd.stop();
      workerd = await start(Number(new URL(url).port));
    },
    async stop() {
      await workerd.stop();
      await parts.stop();
    },
  };
}

/** Wrangler's harness. */
export async function startEvictableGateway(options: SessionGatewayOptions = {}): Promise<EvictableGateway> {
  Object.assign(process.env, OFFLINE_ENVIRONMENT);
  const parts = await startParts(options);
  const { BACKEND_URLS: _, ...secrets } = TEST_ENV;
  const { configPath, variables: vars } = parts;
  const harness = createTestHarness({ root: PROJECT_DIRECTORY, workers: [{ configPath, vars, secrets }] });
  const { url } = await harness.listen();
  const worker = harness.getWorker();
  const nameOf = (sessionId: string) => ({ name: `default/session/${sessionId}` });
  return {
    ...gatewayOf(url.origin, parts),
    logs: () => harness.getLogs().map(({ message }) => message),
    async crash(sessionId) {
      const { SESSIONS } = (await worker.getEnv()) as unknown as {
        SESSIONS: { getByName(name: string): { crash(): Promise<void> } };
      };
      // The call ends with the object.
      await SESSIONS.getByName(nameOf(sessionId).name)
        .crash()
        .catch(() => {});
    },
    evict: (sessionId, webSockets) =>
      worker.evictDurableObject("SESSIONS", { ...nameOf(sessionId), webSockets }),
    async query(sessionId, sql) {
      const storage = await worker.getDurableObjectStorage("SESSIONS", nameOf(sessionId));
      return storage.exec(sql) as Promise<Record<string, unknown>[]>;
    },
    async queryCaller(keyId, sql) {
      const name = `default/caller/key/${keyId}`;
      const storage = await worker.getDurableObjectStorage("CALLERS", { name });
      return storage.exec(sql) as Promise<Record<string, unknown>[]>;
    },
    async stop() {
      await harness.close();
      await parts.stop();
    },
  };
}

type Parts = Awaited<ReturnType<typeof startParts>>;

async function startParts({
  timings = {},
  variables = {},
  parentDirectory = tmpdir(),
}: SessionGatewayOptions) {
  const directory = await mkdtemp(join(parentDirectory, "parley-sessions-"));
  const [backend, neon] = await Promise.all([startScriptedBackend(), startFakeNeon()]);
  const configPath = join(directory, "wrangler.toml");
  const main = join(PROJECT_DIRECTORY, "test/support/session-worker.ts");
  const config = await readFile(join(PROJECT_DIRECTORY, "wrangler.toml"), "utf8");
  await writeFile(configPath, config.replace(/^main = .*$/m, `main = ${JSON.stringify(main)}`));
  return {
    directory,
    backend,
    neon,
    configPath,
    variables: {
      BACKEND_URLS: backend.url,
      DATABASE_ENDPOINT: neon.url,
      TEST_TIMINGS: JSON.stringify(timings),
      ...variables,
    },
    async stop() {
      await Promise.all([backend.stop(), neon.stop()]);
      await rm(directory, { recursive: true, force: true });
    },
  };
}

function gatewayOf(url: string, { backend, neon }: Parts) {
  return {
    url,
    neon,
    backend,
    tasks: new ScriptedTasks(backend.script),
    async openSession(body: object = {}, apiKey = neon.apiKey) {
      const answer = await fetch(`${url}/api/v1/a2a/sessions`, {
        method: "POST",
        headers: { authorization: `Bearer ${apiKey}`, "content-type": "application/json" },
        body: JSON.stringify(body),
      });
      if (answer.status !== 201) throw new Error(`${answer.status}: ${await answer.text()}`);
      return (await answer.json()) as OpenedSession;
    },
  };
}
