/** Memory of this process and of the servers it started, from /proc; nothing where there is no /proc. */
import { existsSync, readdirSync, readFileSync } from "node:fs";

/** Megabytes in use, what several processes share divided among them (PSS). */
export interface Memory {
  /** This process: the bench and, with PGlite, its database. */
  readonly ownMb: number;
  /** The processes that this one started, and theirs. */
  readonly serversMb: number;
}

/** Undefined where the system does not tell. */
export function measureMemory(): Memory | undefined {
  if (!existsSync("/proc/self/smaps_rollup")) return undefined;
  const servers = descendants(process.pid);
  return {
    ownMb: megabytesOf(process.pid),
    serversMb: servers.reduce((sum, pid) => sum + megabytesOf(pid), 0),
  };
}

function descendants(pid: number): number[] {
  const tasks = `/proc/${pid}/task`;
  const children = readOrNothing(() =>
    readdirSync(tasks)
      .map((task) => readFileSync(`${tasks}/${task}/children`, "utf8"))
      .join(" "),
  )
    .split(/\s+/)
    .filter((text) => text !== "")
    .map(Number);
  return children.flatMap((child) => [child, ...descendants(child)]);
}

function megabytesOf(pid: number): number {
  const rollup = readOrNothing(() => readFileSync(`/proc/${pid}/smaps_rollup`, "utf8"));
  return Number(/^Pss:\s+(\d+) kB/m.exec(rollup)?.[1] ?? 0) / 1024;
}

/** A process may end, or be another user's, while it is looked at. */
function readOrNothing(read: () => string): string {
  try {
    return read();
  } catch {
    return "";
  }
}
