/** How much of the processors a program has used, by Linux's /proc. */
import { readdirSync, readFileSync } from "node:fs";

/** Linux counts in hundredths of a second on every platform that Node runs on. */
const TICK_MS = 10;

/** The processes themselves and all that they have started. */
export function programsOf(roots: readonly number[]): number[] {
  const parents = readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      const fields = statOf(Number(name));
      return fields ? [{ pid: Number(name), parent: Number(fields[1]) }] : [];
    });
  const found = [...roots];
  for (const pid of found) found.push(...parents.filter(({ parent }) => parent === pid).map((p) => p.pid));
  return found;
}

/** In milliseconds since they began, of all of them together. */
export function processorTimeMs(pids: readonly number[]): number {
  return pids
    .map((pid) => statOf(pid))
    .reduce((sum, fields) => sum + TICK_MS * (Number(fields?.[11] ?? 0) + Number(fields?.[12] ?? 0)), 0);
}

/** The fields after the name, from the state on; undefined when the process has ended. */
function statOf(pid: number): string[] | undefined {
  try {
    return readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)?.split(" ");
  } catch {
    return undefined;
  }
}
