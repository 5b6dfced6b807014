/**
 * Runs the Worker in workerd itself, without wrangler in between: builds it as it is deployed, and serves it on a free
 * port of loopback. It ends with the process that started it, however that ends.
 */
import { readFileSync } from "node:fs";
import { copyFile, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { buildWorker } from "../../scripts/build-worker.ts";
import { workerdPath } from "../../scripts/edge-program.ts";
import { spawnGuarded } from "../../scripts/guarded-process.ts";
import { type DurableObjectBinding, renderWorkerdConfig } from "../../scripts/workerd-config.ts";
import { readCompatibility, readDurableObjects, type WorkerBundle } from "../../scripts/wrangler.ts";

const PROJECT_DIRECTORY = fileURLToPath(new URL("../..", import.meta.url));
const WRANGLER_FILE = join(PROJECT_DIRECTORY, "wrangler.toml");
const START_TIMEOUT_MS = 15_000;
const BUILD_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 2_000;

/** What to run. */
export interface WorkerdOptions {
  /** One ES module, as {@link buildDeployedWorker} leaves it. */
  modulePath: string;
  /** Variables and secrets. */
  bindings: Readonly<Record<string, string>>;
  /** Of loopback; default a free one. */
  port?: number;
  /** Default: those of wrangler.toml. */
  durableObjects?: readonly DurableObjectBinding[];
  /** Of an earlier one, whose Durable Objects go on; left to who gives it. */
  storageDirectory?: string;
}

/** A running workerd. */
export interface RunningWorkerd {
  url: string;
  /** Lines of its output so far, both streams. */
  logs: readonly string[];
  /** Of its process group. */
  pid: number;
  stop(): Promise<void>;
}

/** Builds the Worker of wrangler.toml, or of another such file, into a directory, which is emptied first. */
export function buildDeployedWorker(
  outDirectory: string,
  configFile: string = WRANGLER_FILE,
): Promise<WorkerBundle> {
  return buildWorker({
    configFile,
    directory: PROJECT_DIRECTORY,
    outDirectory,
    environment: process.env,
    signal: AbortSignal.timeout(BUILD_TIMEOUT_MS),
  });
}

/** Serves a Worker; resolves when it listens. */
export async function startWorkerd({
  modulePath,
  bindings,
  port: givenPort = 0,
  durableObjects,
  storageDirectory: givenStorageDirectory,
}: WorkerdOptions): Promise<RunningWorkerd> {
  const directory = await mkdtemp(join(tmpdir(), "parley-workerd-"));
  const configFile = join(directory, "config.capnp");
  const storageDirectory = givenStorageDirectory ?? join(directory, "storage");
  const wranglerToml = readFileSync(WRANGLER_FILE, "utf8");
  await mkdir(storageDirectory, { recursive: true });
  await copyFile(modulePath, join(directory, "worker.js"));
  await writeFile(
    configFile,
    renderWorkerdConfig({
      modulePath: "worker.js",
      ...readCompatibility(wranglerToml),
      durableObjects: durableObjects ?? readDurableObjects(wranglerToml),
      storageDirectory,
      variables: bindings,
      address: `127.0.0.1:${givenPort}`,
    }),
  );
  const workerd = await spawnGuarded({
    // Control messages among the lines of standard output; the first one comes before any of the Worker's.
    command: [workerdPath(), "serve", configFile, "--control-fd=1"],
    directory,
    environment: process.env,
    orphanGraceSeconds: 1,
    channel: false,
  });
  const logs: string[] = [];
  const port = Promise.withResolvers<number>();
  const { stdout, stderr } = workerd.child;
  for (const stream of [stdout, stderr]) {
    if (!stream) continue;
    createInterface(stream).on("line", (line) => {
      const listening = /^\{"event":"listen".*"port":(\d+)/.exec(line);
      if (listening) port.resolve(Number(listening[1]));
      else logs.push(line);
    });
  }
  const stop = async () => {
    await workerd.terminate(STOP_TIMEOUT_MS);
    await rm(directory, { recursive: true, force: true });
  };
  const failed = () => port.reject(new Error(`workerd did not start: ${logs.join("\n")}`));
  const timer = setTimeout(failed, START_TIMEOUT_MS);
  void workerd.exited.then(failed);
  try {
    return { url: `http://127.0.0.1:${await port.promise}`, logs, pid: workerd.pid, stop };
  } catch (error) {
    await stop();
    throw error;
  } finally {
    clearTimeout(timer);
  }
}
