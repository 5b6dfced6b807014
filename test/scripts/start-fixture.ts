/** Starts the start script with stand-ins for backend and worker, on free ports and in a data directory of its own. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";
import { processIdentity } from "../../scripts/process-identity.ts";
import { type RunRecord, readRunFile } from "../../scripts/run-file.ts";

const START = fileURLToPath(new URL("./fixtures/start.ts", import.meta.url));
const POLL_MS = 20;
const WAIT_LIMIT_MS = 12_000;

/** A start script that runs, or has ended. */
export interface StartedScript {
  readonly child: ChildProcess;
  /** Resolves with its exit code when it has ended. */
  readonly exited: Promise<number | null>;
  /** The record on standard output. Rejects when it ends without one. */
  readonly ready: Promise<RunRecord>;
  stderr(): string;
}

/** An empty data directory, removed after the test. */
export function createDataDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), "parley-start-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** Starts the script. Whatever of it still runs after the test is killed. */
export function startScript(dataDirectory: string, environment: NodeJS.ProcessEnv = {}): StartedScript {
  const child = spawn(process.execPath, [START], {
    env: {
      PATH: process.env["PATH"],
      HOME: process.env["HOME"],
      PORT: "0",
      BACKEND_PORT: "0",
      DATA_DIRECTORY: dataDirectory,
      DRAIN_GRACE_MS: "100",
      ...environment,
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  onTestFinished(() => {
    const record = readRunFile(join(dataDirectory, "run.json"));
    child.kill("SIGKILL");
    for (const { pid, identity } of record?.children ?? []) {
      if (processIdentity(pid) === identity) process.kill(-pid, "SIGKILL");
    }
  });
  const exited = once(child, "close").then(([code]): number | null => code);
  let stdout = "";
  let stderr = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  const ready = new Promise<RunRecord>((resolve, reject) => {
    child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      stdout += text;
      if (stdout.includes("\n")) resolve(JSON.parse(stdout));
    });
    child.once("close", () => reject(new Error(`the start script ended: ${stderr}`)));
  });
  ready.catch(() => undefined);
  return { child, exited, ready, stderr: () => stderr };
}

/** Waits until something holds. */
export async function eventually(condition: () => boolean | Promise<boolean>, what: string): Promise<void> {
  for (let waitedMs = 0; waitedMs < WAIT_LIMIT_MS; waitedMs += POLL_MS) {
    if (await condition()) return;
    await sleep(POLL_MS);
  }
  throw new Error(`did not come to pass: ${what}`);
}

/** Whether any process of the groups that a run led still runs. */
export function anyRuns(record: RunRecord): boolean {
  const leaders = record.children.map(({ pid }) => pid);
  return runningProcesses().some(({ group }) => leaders.includes(group));
}

/** The pid of a program of a run, as the run file has it now; undefined when there is none. */
export function pidOf(dataDirectory: string, name: string): number | undefined {
  return readRunFile(join(dataDirectory, "run.json"))?.children.find((child) => child.name === name)?.pid;
}

/** Ends a program of a run as a fault would. */
export function killProgram(dataDirectory: string, name: string): void {
  const pid = pidOf(dataDirectory, name);
  if (pid === undefined) throw new Error(`no ${name} in the run file`);
  process.kill(pid, "SIGKILL");
}

/** Ends everything in a program's group except the program. */
export function killGuard(dataDirectory: string, name: string): void {
  const leader = pidOf(dataDirectory, name);
  for (const { pid, group } of runningProcesses()) {
    if (group === leader && pid !== leader) process.kill(pid, "SIGKILL");
  }
}

/** All processes of the machine but zombies. */
function runningProcesses(): { pid: number; group: number }[] {
  const lines = execFileSync("ps", ["-eo", "pid=,pgid=,state="], { encoding: "utf8" }).trim().split("\n");
  return lines
    .map((line) => line.trim().split(/\s+/))
    .filter(([, , state]) => !state?.startsWith("Z"))
    .map(([pid, group]) => ({ pid: Number(pid), group: Number(group) }));
}
