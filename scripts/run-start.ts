/**
 * The life of `npm start`: settings, start, the commands to paste, signals, the end. Everything that it started has
 * ended when it returns.
 */
import { existsSync } from "node:fs";
import { join, relative } from "node:path";
import { type GatewayParts, LocalGateway } from "./local-gateway.ts";
import type { RunRecord } from "./run-file.ts";
import { readStartSettings, type StartSettings } from "./start-settings.ts";

/** npm hands on a Ctrl-C that the terminal has already sent: one key press, two signals. */
const SAME_KEY_PRESS_MS = 500;

/** How to run. */
export interface RunOptions {
  readonly parts: GatewayParts;
  /**
   * Whether standard output gets the record of the run as one line of JSON when it serves, and nothing else. Reports
   * go to standard error in any case.
   */
  readonly json: boolean;
}

/**
 * Runs the gateway until it is told to stop (SIGINT, SIGTERM, SIGHUP) or a part of it cannot be kept running. A
 * second signal ends everything at once.
 *
 * @returns the exit code
 */
export async function runStart({ parts, json }: RunOptions): Promise<number> {
  try {
    return await run({ parts, json });
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    return 1;
  }
}

async function run({ parts, json }: RunOptions): Promise<number> {
  const startedAtMs = performance.now();
  const environmentFile = join(parts.projectDirectory, ".env");
  if (existsSync(environmentFile)) process.loadEnvFile(environmentFile);
  const settings = readStartSettings(process.env, parts.projectDirectory);
  const gateway = new LocalGateway(settings, parts, (line) => console.error(line));
  const stopRequested = onStopSignals(() => gateway.kill());
  const failed = gateway.failed.then((error) => {
    throw error;
  });
  const tell = (text: string) => {
    if (!json) console.log(text);
  };
  try {
    tell("starting: the worker is being built, the backend opens its stores …");
    const record = await Promise.race([gateway.start(), failed, stopRequested]);
    if (record) {
      const seconds = ((performance.now() - startedAtMs) / 1000).toFixed(1);
      console.log(json ? JSON.stringify(record) : describeRun(record, settings, seconds));
      await Promise.race([failed, stopRequested]);
    }
    tell("stopping: running turns may finish; Ctrl-C again ends everything at once");
    return 0;
  } finally {
    await gateway.stop();
  }
}

/** Resolves at the first signal to stop; a second one calls `kill` and ends this process. */
function onStopSignals(kill: () => void): Promise<undefined> {
  return new Promise((resolve) => {
    let firstAtMs: number | undefined;
    const onSignal = () => {
      if (firstAtMs === undefined) {
        firstAtMs = performance.now();
        resolve(undefined);
      } else if (performance.now() - firstAtMs > SAME_KEY_PRESS_MS) {
        kill();
        process.exit(130);
      }
    };
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, onSignal);
  });
}

/** What to do with it: commands that work when pasted. */
function describeRun(run: RunRecord, { dataDirectory }: StartSettings, seconds: string): string {
  const keyFile = shortPath(run.developmentKeyFile);
  const backend = new URL(run.backendUrl).host;
  return `
Parley serves at ${run.url} (ready in ${seconds} s)

  development key   ${keyFile}
  gRPC              ${backend}
  logs              ${shortPath(join(dataDirectory, "logs"))}

Try it in another terminal:

  curl -sS ${run.url}/api/v1/a2a/message \\
    -H "Authorization: Bearer $(cat ${keyFile})" -H 'Content-Type: application/json' \\
    -d '{"receiverId":"assistant","text":"Hello, who are you?"}'

  grpcurl -plaintext -H "Authorization: Bearer $(cat ${keyFile})" \\
    -d '{"receiverId":"assistant","text":"Hello, who are you?"}' \\
    ${backend} parley.v1.AgentService/ProcessMessage

Ctrl-C stops it.
`;
}

/** Relative to the current folder if it is below it. */
function shortPath(path: string): string {
  const relativePath = relative(process.cwd(), path);
  return relativePath.startsWith("..") ? path : relativePath;
}
