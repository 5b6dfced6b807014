/**
 * Keeps a second process off a data directory: PGlite takes no lock of its own, and two processes on one
 * directory destroy it. The lock is a file that names its holder; one whose holder is gone is taken over.
 */
import { closeSync, openSync, readFileSync, rmSync, statSync, writeSync } from "node:fs";
import { hostname } from "node:os";
import { setTimeout as delay } from "node:timers/promises";
import { ParleyError } from "../../core/errors/parley-error.ts";

/** A lock that is held. */
export interface DirectoryLock {
  /** Gives it back. Idempotent; never removes a lock that somebody else holds by now. */
  release(): void;
}

/** A process, told apart from a later one that the system gave the same number. */
interface Holder {
  readonly pid: number;
  readonly host: string;
  /** When it started, in the system's own terms; absent where the system does not tell (no /proc). */
  readonly startedAt?: string;
}

/** How often a lock that is just being written or taken over is looked at again, and how long in between. */
const ATTEMPTS_MAX = 20;
const ATTEMPT_DELAY_MS = 50;
/** Taking over takes microseconds; a mark this old was left by a process that died over it. */
const TAKEOVER_MARK_MS = 10_000;

/**
 * Takes the lock.
 *
 * @param path where the lock file goes, e.g. `.parley/postgres.lock`; its folder must exist
 * @throws ParleyError `failed_precondition` when a live process holds it, naming the process
 */
export async function lockDirectory(path: string): Promise<DirectoryLock> {
  const content = JSON.stringify(describeSelf());
  for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt++) {
    if (createExclusively(path, content)) return { release: () => releaseLock(path, content) };
    const holder = readHolder(path);
    if (holder) refuseUnlessGone(path, holder);
    // A lock that names nobody may be half written; only when it stays so has its writer died.
    if (holder || attempt === ATTEMPTS_MAX - 1) removeStale(path);
    else await delay(ATTEMPT_DELAY_MS);
  }
  throw new ParleyError("failed_precondition", `the lock ${path} cannot be taken`, {
    reason: "directory-locked",
  });
}

/** Removes a lock whose holder is gone, unless another process is doing so or has just taken it. */
function removeStale(path: string): void {
  const mark = `${path}.takeover`;
  if (!createExclusively(mark, "")) {
    if (Date.now() - (statSync(mark, { throwIfNoEntry: false })?.mtimeMs ?? 0) > TAKEOVER_MARK_MS) {
      rmSync(mark, { force: true });
    }
    return;
  }
  try {
    // Under the mark the lock is looked at once more: it may be a new, live one by now.
    const holder = readHolder(path);
    if (holder) refuseUnlessGone(path, holder);
    rmSync(path, { force: true });
  } finally {
    rmSync(mark, { force: true });
  }
}

function releaseLock(path: string, content: string): void {
  if (readText(path) === content) rmSync(path, { force: true });
}

/** Whether the file did not exist and is now ours. */
function createExclusively(path: string, content: string): boolean {
  let file: number;
  try {
    file = openSync(path, "wx", 0o600);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
  try {
    writeSync(file, content);
  } finally {
    closeSync(file);
  }
  return true;
}

function readHolder(path: string): Holder | undefined {
  try {
    const holder = JSON.parse(readText(path) ?? "") as Holder;
    return Number.isInteger(holder.pid) && typeof holder.host === "string" ? holder : undefined;
  } catch {
    return undefined;
  }
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

function describeSelf(): Holder {
  const startedAt = startOf(process.pid);
  return { pid: process.pid, host: hostname(), ...(startedAt === undefined ? {} : { startedAt }) };
}

/** Whether a process of this host still runs, and is the same that started then. */
function isAlive(pid: number, startedAt: string | undefined): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    // EPERM: it runs, as somebody else.
    if ((error as NodeJS.ErrnoException).code === "ESRCH") return false;
  }
  if (startedAt === undefined || startOf(process.pid) === undefined) return true;
  return startOf(pid) === startedAt;
}

/**
 * When a process started: the boot of the system and the ticks since then (proc(5), field 22 of stat).
 * Undefined for a process that is gone or a zombie, and where there is no /proc.
 */
function startOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The second field, the command's name in parentheses, may itself hold blanks and parentheses.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const [state, startTicks] = [fields[0], fields[19]];
    if (state === "Z" || state === "X" || startTicks === undefined) return undefined;
    return `${readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim()}/${startTicks}`;
  } catch {
    return undefined;
  }
}

function refuseUnlessGone(path: string, { pid, host, startedAt }: Holder): void {
  const details = { reason: "directory-locked", details: { pid, host } };
  if (host !== hostname()) {
    // From another host, or another container, nobody can tell whether it still runs.
    throw new ParleyError(
      "failed_precondition",
      `the data directory is locked by process ${pid} on the host ${host}; if that is gone, delete ${path}`,
      details,
    );
  }
  if (!isAlive(pid, startedAt)) return;
  throw new ParleyError(
    "failed_precondition",
    `the data directory is in use by process ${pid} (lock ${path}); stop that process first`,
    details,
  );
}
