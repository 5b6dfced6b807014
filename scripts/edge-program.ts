/** The edge as `npm start` runs it: the built worker in workerd, configured with the backend's addresses. */
import { rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, relative } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { EDGE_VARIABLES } from "../edge/env.ts";
import type { BackendAddress } from "./backend-program.ts";
import { type GuardedProcess, spawnGuarded } from "./guarded-process.ts";
import type { ProgramOutput } from "./program-output.ts";
import type { StartSettings } from "./start-settings.ts";
import { ProgramFailedError, type SupervisedProgram } from "./supervisor.ts";
import { renderWorkerdConfig, type WorkerdDescription } from "./workerd-config.ts";

const START_LIMIT_MS = 30_000;
const POLL_MS = 50;
/** Without its parent, workerd finishes what it can in this time. */
const ORPHAN_GRACE_SECONDS = 2;

/** What the edge program is made of. */
export interface EdgeProgramOptions {
  readonly worker: WorkerdDescription;
  /** Where to write workerd's configuration; the worker's module lies in its folder or below. */
  readonly configFile: string;
  /** Where it serves, e.g. `http://127.0.0.1:8787`. */
  readonly url: string;
  /** Of the process; the worker sees none of it. */
  readonly environment: NodeJS.ProcessEnv;
  readonly output: ProgramOutput;
}

/**
 * The worker's variables: where the backend is and what both share; of the environment only what the edge knows, and
 * not what is set to nothing.
 */
export function edgeVariables(settings: StartSettings, backend: BackendAddress): Record<string, string> {
  const { environment } = settings;
  const variables: Record<string, string | undefined> = {
    ...Object.fromEntries(Object.keys(EDGE_VARIABLES).map((name) => [name, environment[name]])),
    BACKEND_URLS: backend.address,
    BACKEND_TOKEN_SECRET: settings.backendTokenSecret,
    DATABASE_URL: backend.databaseUrl ?? environment["DATABASE_URL"],
    DATABASE_ENDPOINT: backend.neonEndpoint,
  };
  return Object.fromEntries(
    Object.entries(variables).filter((entry): entry is [string, string] => !!entry[1]),
  );
}

/** The edge, to be supervised. */
export class EdgeProgram implements SupervisedProgram {
  readonly name = "edge";
  readonly #options: EdgeProgramOptions;

  /** Writes the configuration, for its owner only: secrets stand in it. */
  constructor(options: EdgeProgramOptions) {
    this.#options = options;
    const { configFile, worker } = options;
    const modulePath = relative(dirname(configFile), worker.modulePath);
    rmSync(configFile, { force: true });
    writeFileSync(configFile, renderWorkerdConfig({ ...worker, modulePath }), { mode: 0o600 });
  }

  async launch(): Promise<GuardedProcess> {
    const { configFile, output } = this.#options;
    const edge = await spawnGuarded({
      command: [workerdPath(), "serve", configFile],
      directory: dirname(configFile),
      environment: this.#options.environment,
      orphanGraceSeconds: ORPHAN_GRACE_SECONDS,
      channel: false,
    });
    output.read(edge.child);
    return edge;
  }

  /** Polls `/readyz`: it answers 200 when the edge and all that it needs work. */
  async waitUntilServing(_process: GuardedProcess, signal: AbortSignal): Promise<void> {
    const limit = AbortSignal.timeout(START_LIMIT_MS);
    let answer = "no answer";
    while (!limit.aborted) {
      signal.throwIfAborted();
      try {
        const response = await fetch(`${this.#options.url}/readyz`, {
          signal: AbortSignal.any([signal, limit]),
        });
        if (response.ok) return;
        if (response.status === 500) {
          throw new ProgramFailedError(
            "the edge cannot work with its configuration; its log line above says why",
          );
        }
        answer = `status ${response.status}: ${(await response.text()).slice(0, 1000)}`;
      } catch (error) {
        if (error instanceof ProgramFailedError) throw error;
        answer = describeFetchError(error);
      }
      await sleep(POLL_MS);
    }
    throw new ProgramFailedError(`edge was not ready within ${START_LIMIT_MS / 1000} s; /readyz: ${answer}`);
  }

  lastLines(): string {
    return this.#options.output.lastLines();
  }
}

/** The program itself, for this platform; the `workerd` in `.bin` may be a script that starts it. */
export function workerdPath(): string {
  return createRequire(import.meta.url)("workerd").default;
}

function describeFetchError(error: unknown): string {
  const { message, cause } = error as Error & { cause?: { code?: string } };
  return cause?.code ?? message;
}
