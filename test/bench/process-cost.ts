/** What a group of processes has of memory, and has used of processors, from /proc. */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";

/** Ticks of the kernel's clock in a second, on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;
const PAGE_BYTES = 4_096;

/** Sums over a process group. */
export interface ProcessCost {
  residentMb: number;
  cpuSeconds: number;
  /** Files and sockets that are open. */
  descriptors: number;
}

/** As it is now. */
export function costOf(groupPid: number): ProcessCost {
  const sum: ProcessCost = { residentMb: 0, cpuSeconds: 0, descriptors: 0 };
  for (const { fields, descriptors } of processesOf(groupPid)) {
    sum.cpuSeconds += (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
    sum.residentMb += (Number(fields[21]) * PAGE_BYTES) / 1_048_576;
    sum.descriptors += descriptors.length;
  }
  return sum;
}

/** Where the open descriptors of a group lead to. */
export function openPathsOf(groupPid: number): string[] {
  return processesOf(groupPid).flatMap(({ descriptors }) => descriptors.flatMap(pathOf));
}

function processesOf(groupPid: number): { fields: string[]; descriptors: string[] }[] {
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  return pids.flatMap((pid) => {
    try {
      // The name may have spaces and parentheses; the fields after it have none (proc(5)).
      const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
      const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      if (Number(fields[2]) !== groupPid) return [];
      return [{ fields, descriptors: readdirSync(`/proc/${pid}/fd`).map((fd) => `/proc/${pid}/fd/${fd}`) }];
    } catch {
      // It has ended meanwhile.
      return [];
    }
  });
}

function pathOf(descriptor: string): string[] {
  try {
    return [readlinkSync(descriptor)];
  } catch {
    // It has been closed meanwhile.
    return [];
  }
}

/** How many files and sockets each process of a group may have open. */
export function descriptorLimitOf(groupPid: number): number {
  const limits = readFileSync(`/proc/${groupPid}/limits`, "utf8");
  return Number(/^Max open files\s+(\d+)/m.exec(limits)?.[1]);
}

/** How many processors a group keeps busy, from one moment to another. */
export function busyProcessors(before: ProcessCost, after: ProcessCost, seconds: number): number {
  return (after.cpuSeconds - before.cpuSeconds) / seconds;
}
