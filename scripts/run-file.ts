/**
 * The record of the run that a data directory belongs to, `run.json`: who runs, where it serves, which processes are
 * its own. By it a second start finds the first one, and a start after kill -9 finds and ends what was left over.
 * Tests and tools read it to learn when the gateway is ready.
 */
import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { killGroup } from "./guarded-process.ts";
import { processIdentity } from "./process-identity.ts";

/** Two starts at the same moment meet at most this often. */
const CLAIM_ATTEMPTS_MAX = 3;
const POLL_MS = 100;

const processSchema = z.object({ name: z.string(), pid: z.int().positive(), identity: z.string() });
const runSchema = z.object({
  state: z.enum(["starting", "ready"]),
  process: processSchema,
  /** Leaders of process groups. */
  children: z.array(processSchema),
  url: z.string(),
  backendUrl: z.string(),
  developmentKeyFile: z.string(),
});

/** A process, recognisable after its pid was given to another one. */
export type ProcessRecord = z.output<typeof processSchema>;

/** A run of `npm start`. */
export type RunRecord = z.output<typeof runSchema>;

/** A live run has the data directory. */
export class AlreadyRunningError extends Error {
  override readonly name = "AlreadyRunningError";
}

/** What {@link RunFile.claim} needs. */
export interface ClaimOptions {
  readonly path: string;
  readonly record: RunRecord;
  /** How long left-over processes may take to end by themselves. */
  readonly leftOverGraceMs: number;
  /** Told about each left-over process that is ended. */
  readonly onLeftOver: (left: ProcessRecord) => void;
}

/** This run's record. Writes are atomic; only the owner may read it. */
export class RunFile {
  readonly #path: string;

  private constructor(path: string) {
    this.#path = path;
  }

  /** Takes the data directory. Throws AlreadyRunningError when a live run has it; ends what a dead one left. */
  static async claim({ path, record, leftOverGraceMs, onLeftOver }: ClaimOptions): Promise<RunFile> {
    for (let attempt = 1; attempt <= CLAIM_ATTEMPTS_MAX; attempt++) {
      const earlier = readRunFile(path);
      if (earlier && isRunning(earlier.process)) {
        throw new AlreadyRunningError(`already running as pid ${earlier.process.pid} at ${earlier.url}`);
      }
      const left = earlier?.children.filter(isRunning) ?? [];
      left.forEach(onLeftOver);
      await Promise.all(left.map((process) => endProcess(process, leftOverGraceMs)));
      rmSync(path, { force: true });
      if (createFile(path, record)) return new RunFile(path);
    }
    throw new AlreadyRunningError(`another start is taking ${path} at this moment`);
  }

  write(record: RunRecord): void {
    const temporary = `${this.#path}.new`;
    writeFileSync(temporary, toJson(record), { mode: 0o600 });
    renameSync(temporary, this.#path);
  }

  release(): void {
    rmSync(this.#path, { force: true });
  }
}

/** The record in a file; undefined when there is none or it is not one of ours. */
export function readRunFile(path: string): RunRecord | undefined {
  try {
    return runSchema.parse(JSON.parse(readFileSync(path, "utf8")));
  } catch {
    return undefined;
  }
}

/** A running process as it is recorded. */
export function describeProcess(name: string, pid: number): ProcessRecord {
  return { name, pid, identity: processIdentity(pid) ?? "ended" };
}

function isRunning({ pid, identity }: ProcessRecord): boolean {
  return processIdentity(pid) === identity;
}

/** Ends the leader and then all of its group; does nothing to a process that only has the same pid. */
async function endProcess(record: ProcessRecord, graceMs: number): Promise<void> {
  if (!isRunning(record)) return;
  process.kill(record.pid, "SIGTERM");
  for (let waitedMs = 0; isRunning(record) && waitedMs < graceMs; waitedMs += POLL_MS) await sleep(POLL_MS);
  if (isRunning(record)) killGroup(record.pid);
  while (isRunning(record)) await sleep(POLL_MS);
}

/** Whether the file could be made; false when there is one. */
function createFile(path: string, record: RunRecord): boolean {
  try {
    writeFileSync(path, toJson(record), { mode: 0o600, flag: "wx" });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
}

function toJson(record: RunRecord): string {
  return `${JSON.stringify(record, undefined, 2)}\n`;
}
