/**
 * The backend's process: reads the configuration, composes, listens, tells its parent, and drains on SIGTERM, Ctrl-C
 * or the end of its parent. Exits 1 with a message when it cannot start.
 */
import { pino } from "pino";
import { type BackendParts, composeBackend } from "./composition.ts";
import { readBackendConfig } from "./config.ts";

/** After the grace period and what follows it: nothing may keep the process from ending. */
const HARD_EXIT_MARGIN_MS = 20_000;

/** What a parent process is told once the backend serves. */
export interface ReadyMessage {
  type: "ready";
  /** Base URL of the port. */
  address: string;
  /** What a local edge needs to read the database. */
  databaseUrl: string | undefined;
  neonEndpoint: string | undefined;
}

/** Runs it until it is told to end. `parts` are replaced by a bench that wants to know what one of them costs. */
export async function runBackend(parts: BackendParts = {}): Promise<void> {
  await serve(parts).catch(fail);
}

async function serve(parts: BackendParts): Promise<void> {
  const config = readBackendConfig(process.env);
  const logger = pino({ level: config.LOG_LEVEL, base: { service: "backend" } });
  const backend = await composeBackend(config, logger, parts);
  const host = config.BACKEND_HOST.includes(":") ? `[${config.BACKEND_HOST}]` : config.BACKEND_HOST;
  const ready: ReadyMessage = {
    type: "ready",
    address: `http://${host}:${backend.port}`,
    databaseUrl: backend.edgeAccess?.connectionString,
    neonEndpoint: backend.edgeAccess?.fetchEndpoint,
  };
  logger.info({ address: ready.address }, "backend ready");
  // A parent that has gone meanwhile gets no word; what it began ends below.
  process.send?.(ready, () => {});

  let draining = false;
  const end = async (why: string) => {
    if (draining) return;
    draining = true;
    logger.info({ why }, "backend draining");
    setTimeout(() => process.exit(1), config.DRAIN_GRACE_MS + HARD_EXIT_MARGIN_MS).unref();
    await backend.drain(config.DRAIN_GRACE_MS);
    logger.info("backend ended");
    process.exit(0);
  };
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => end(signal).catch(fail));
  process.on("disconnect", () => end("parent ended").catch(fail));
  if (process.send && !process.connected) await end("parent ended");
}

function fail(error: unknown): void {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(1);
}
