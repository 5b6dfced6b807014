/**
 * The backend as `npm start` runs it: which environment it gets, and the message by which it says that it serves.
 * Once it has chosen its ports it gets the same ones at every restart, so that the edge's configuration stays valid.
 */
import { z } from "zod";
import { type GuardedProcess, spawnGuarded } from "./guarded-process.ts";
import { localUrl, toLocalUrl } from "./local-url.ts";
import type { ProgramOutput } from "./program-output.ts";
import type { StartSettings } from "./start-settings.ts";
import { ProgramFailedError, type SupervisedProgram } from "./supervisor.ts";

/** An embedded database that was not shut down recovers first; on a slow machine that takes its time. */
const START_LIMIT_MS = 60_000;
/** Past its turns' grace: answers go out (2 s), the log is written (5 s), the database closes (10 s). */
const GRACE_MARGIN_MS = 18_000;

const readySchema = z.object({
  type: z.literal("ready"),
  /** Where the edge reaches it. */
  address: z.url(),
  /** Where it speaks Neon's SQL over HTTP, and the connection string for that; absent: the database has its own. */
  neonEndpoint: z.url().optional(),
  databaseUrl: z.string().optional(),
});

/** Where a serving backend is found. */
export type BackendAddress = z.output<typeof readySchema>;

/** What the backend program is made of. */
export interface BackendProgramOptions {
  /** Its entry, e.g. `backend/main.ts`. */
  readonly entry: string;
  readonly directory: string;
  readonly settings: StartSettings;
  readonly output: ProgramOutput;
}

/** How long a backend may take to end when asked. */
export function backendGraceMs(settings: StartSettings): number {
  return settings.drainGraceMs + GRACE_MARGIN_MS;
}

/** The environment of a backend; `earlier` is where it served before it had to be started again. */
export function backendEnvironment(settings: StartSettings, earlier?: BackendAddress): NodeJS.ProcessEnv {
  return {
    ...settings.environment,
    BACKEND_HOST: settings.backendHost,
    BACKEND_PORT: earlier ? new URL(earlier.address).port : String(settings.backendPort),
    BACKEND_TOKEN_SECRET: settings.backendTokenSecret,
    DATA_DIRECTORY: settings.dataDirectory,
    DEVELOPMENT_KEY_FILE: settings.developmentKeyFile,
    EDGE_URL: settings.environment["EDGE_URL"] || localUrl(settings.host, settings.port),
    NEON_ENDPOINT_PORT: earlier?.neonEndpoint ? new URL(earlier.neonEndpoint).port : "0",
    NEON_ENDPOINT_SECRET: settings.neonEndpointSecret,
  };
}

/** The backend, to be supervised. */
export class BackendProgram implements SupervisedProgram {
  readonly name = "backend";
  readonly #options: BackendProgramOptions;
  #address: BackendAddress | undefined;

  constructor(options: BackendProgramOptions) {
    this.#options = options;
  }

  /** Where it serves. Throws before it has served for the first time. */
  get address(): BackendAddress {
    if (!this.#address) throw new Error("the backend has not said where it serves");
    return this.#address;
  }

  async launch(): Promise<GuardedProcess> {
    const { entry, directory, settings, output } = this.#options;
    const backend = await spawnGuarded({
      command: [process.execPath, entry],
      directory,
      environment: backendEnvironment(settings, this.#address),
      orphanGraceSeconds: Math.ceil(backendGraceMs(settings) / 1000),
      channel: true,
    });
    output.read(backend.child);
    return backend;
  }

  waitUntilServing({ child }: GuardedProcess, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const limit = AbortSignal.timeout(START_LIMIT_MS);
      const stop = () => {
        child.off("message", onMessage);
        reject(new ProgramFailedError(`backend did not serve within ${START_LIMIT_MS / 1000} s`));
      };
      const onMessage = (message: unknown) => {
        const ready = readySchema.safeParse(message);
        if (!ready.success) return;
        this.#address ??= { ...ready.data, address: toLocalUrl(ready.data.address) };
        resolve();
      };
      child.on("message", onMessage);
      for (const end of [limit, signal]) end.addEventListener("abort", stop, { once: true });
    });
  }

  lastLines(): string {
    return this.#options.output.lastLines();
  }
}
