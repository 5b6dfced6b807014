/**
 * Entry point of the thread that PGlite lives in: it must not block the loop that streams tokens. Answers the
 * main thread's requests, and serves Neon's protocol on loopback when asked to. Started by PgliteSqlClient only.
 */
import { closeSync, fsyncSync, mkdirSync, openSync, readdirSync, renameSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { type MessagePort, parentPort, workerData } from "node:worker_threads";
import { ParleyError } from "../../core/errors/parley-error.ts";
import { type NeonEndpoint, startNeonEndpoint } from "./neon-endpoint.ts";
import { openPglite, PgliteEngine } from "./pglite-engine.ts";
import type { PgliteReply, PgliteRequest, PgliteWorkerData } from "./pglite-messages.ts";
import { StatementError } from "./raw-sql-executor.ts";

const CHECKPOINT_INTERVAL_MS = 60_000;
/** While much is written, plans that were right for a smaller table are used for so long. */
const TIDY_INTERVAL_MS = 5_000;

/** Makes the database beside its place and moves it there whole: what a kill leaves half made is not used. */
async function initialize(dataDirectory: string): Promise<void> {
  const unfinished = `${dataDirectory}.unfinished`;
  rmSync(unfinished, { recursive: true, force: true });
  mkdirSync(unfinished, { recursive: true, mode: 0o700 });
  const { db } = await openPglite(unfinished);
  await db.close();
  syncTree(unfinished);
  renameSync(unfinished, dataDirectory);
  syncFile(dirname(dataDirectory));
}

/** The files of a new database reached the system's cache only. */
function syncTree(directory: string): void {
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) syncTree(path);
    else if (entry.isFile()) syncFile(path);
  }
  syncFile(directory);
}

function syncFile(path: string): void {
  const file = openSync(path, "r");
  try {
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

/** Serves until told to close. */
async function serve(port: MessagePort, { dataDirectory, endpoint }: PgliteWorkerData): Promise<void> {
  const reply = (message: PgliteReply) => port.postMessage(message);
  const engine = new PgliteEngine(await openPglite(dataDirectory), (error) => {
    // An uncaught error ends the thread, and the main thread starts another one on the same files.
    setImmediate(() => {
      throw error;
    });
  });
  const neon = endpoint && (await startEndpoint(engine, endpoint, reply));
  const onTrouble = (error: unknown) => reply({ kind: "trouble", message: String(error) });
  const upkeep = [
    setInterval(() => void engine.checkpointIfDue().catch(onTrouble), CHECKPOINT_INTERVAL_MS),
    setInterval(() => void engine.tidyIfDue().catch(onTrouble), TIDY_INTERVAL_MS),
  ];

  const underWay = new Map<number, AbortController>();
  const answer = async (id: number, work: (signal: AbortSignal) => Promise<PgliteReply>) => {
    const controller = new AbortController();
    underWay.set(id, controller);
    reply(await work(controller.signal).catch((error) => failureReply(id, error)));
    underWay.delete(id);
  };
  port.on("message", (request: PgliteRequest) => {
    switch (request.kind) {
      case "execute":
        answer(request.id, async (signal) => {
          const { statement, relaxed } = request;
          const result = relaxed
            ? await engine.executeRelaxed(statement, signal)
            : await engine.execute(statement, signal);
          return { kind: "result", id: request.id, result };
        });
        break;
      case "script":
        answer(request.id, async (signal) => {
          await engine.runScript(request.sql, signal);
          return { kind: "result", id: request.id, result: undefined };
        });
        break;
      case "cancel":
        underWay.get(request.id)?.abort();
        break;
      case "close":
        for (const timer of upkeep) clearInterval(timer);
        close(port, engine, neon);
        break;
    }
  });
  reply({ kind: "ready", endpointPort: neon?.port });
}

function startEndpoint(
  engine: PgliteEngine,
  endpoint: NonNullable<PgliteWorkerData["endpoint"]>,
  reply: (message: PgliteReply) => void,
): Promise<NeonEndpoint> {
  return startNeonEndpoint({
    ...endpoint,
    executor: engine,
    onError: (error) => reply({ kind: "trouble", message: String(error) }),
  });
}

async function close(port: MessagePort, engine: PgliteEngine, neon: NeonEndpoint | undefined) {
  await neon?.close();
  await engine.close();
  port.close();
}

function failureReply(id: number, error: unknown): PgliteReply {
  if (error instanceof StatementError) {
    return { kind: "failure", id, message: error.message, fields: error.fields };
  }
  const cause = error instanceof ParleyError ? (error.cause ?? error) : error;
  return { kind: "failure", id, message: String(cause), fields: undefined };
}

if (!parentPort) throw new Error("pglite-worker.ts runs only as a worker thread");
const data = workerData as PgliteWorkerData;
if (data.task === "initialize") {
  await initialize(data.dataDirectory);
  parentPort.postMessage({ kind: "ready", endpointPort: undefined } satisfies PgliteReply);
  parentPort.close();
} else {
  await serve(parentPort, data);
}
