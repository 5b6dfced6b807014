/**
 * A child process that ends with this one, also when this one is killed with SIGKILL: it runs under `guard.sh`, as
 * the leader of its own process group. A Ctrl-C of the terminal does not reach it; whoever started it decides.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

const GUARD = fileURLToPath(new URL("./guard.sh", import.meta.url));

/** What to run. */
export interface GuardedCommand {
  /** The program and its arguments. */
  readonly command: readonly string[];
  readonly directory: string;
  readonly environment: NodeJS.ProcessEnv;
  /** How long it may take to end by itself once this process is gone, whole seconds. */
  readonly orphanGraceSeconds: number;
  /** Whether it is a Node program that talks over an IPC channel. */
  readonly channel: boolean;
}

/** How a process ended: one of the two is set. */
export interface ProcessExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A running child and its group. */
export interface GuardedProcess {
  readonly pid: number;
  /** For its output and messages; end it by `terminate` and `kill`. */
  readonly child: ChildProcess;
  /** Resolves when the process has ended and its output is read; nothing of its group runs any more. */
  readonly exited: Promise<ProcessExit>;
  /** Asks it to end (SIGTERM), and kills it when it still runs after `graceMs`. Resolves when it has ended. */
  terminate(graceMs: number): Promise<void>;
  /** Ends the group at once. */
  kill(): void;
}

/** Starts a command with piped output. Throws when no process can be made. */
export async function spawnGuarded(options: GuardedCommand): Promise<GuardedProcess> {
  const child = spawn("/bin/sh", [GUARD, String(options.orphanGraceSeconds), ...options.command], {
    cwd: options.directory,
    env: options.environment,
    detached: true,
    stdio: ["pipe", "pipe", "pipe", ...(options.channel ? (["ipc"] as const) : [])],
  });
  const exited = new Promise<ProcessExit>((resolve) => {
    child.once("close", (code, signal) => resolve({ code, signal }));
  });
  await once(child, "spawn");
  const pid = child.pid;
  if (pid === undefined) throw new Error(`${options.command[0]} could not be started`);
  // What goes wrong with its pipes and its channel after this shows as its end.
  child.on("error", () => undefined);
  child.stdin?.on("error", () => undefined);
  let ended = false;
  child.once("exit", () => {
    ended = true;
    // Its watcher and its own children are left; while they run, the group's id is nobody else's.
    killGroup(pid);
  });
  const kill = () => {
    if (!ended) killGroup(pid);
  };
  return {
    pid,
    child,
    exited,
    kill,
    async terminate(graceMs) {
      child.kill("SIGTERM");
      const timer = setTimeout(kill, graceMs);
      await exited;
      clearTimeout(timer);
    },
  };
}

/** Ends every process of a group that is left; none is left if there is no such group. */
export function killGroup(leaderPid: number): void {
  try {
    process.kill(-leaderPid, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}
