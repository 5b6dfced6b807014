/** Recognising an earlier run, alive or dead, without ever taking a stranger for one of its processes. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { processIdentity } from "../../scripts/process-identity.ts";
import {
  AlreadyRunningError,
  describeProcess,
  type ProcessRecord,
  RunFile,
  type RunRecord,
  readRunFile,
} from "../../scripts/run-file.ts";
import { createDataDirectory } from "./start-fixture.ts";

const DEAD = { name: "start", pid: 2 ** 22 - 1, identity: "boot/1" };

function record(changes: Partial<RunRecord>): RunRecord {
  return {
    state: "starting",
    process: describeProcess("start", process.pid),
    children: [],
    url: "http://127.0.0.1:8787",
    backendUrl: "http://127.0.0.1:8080",
    developmentKeyFile: "/nowhere/development-key",
    ...changes,
  };
}

/** Claims a data directory in which an earlier run left this. */
async function claimAfter(earlier: string | RunRecord) {
  const path = join(createDataDirectory(), "run.json");
  writeFileSync(path, typeof earlier === "string" ? earlier : JSON.stringify(earlier));
  const ended: ProcessRecord[] = [];
  const own = record({});
  const options = {
    path,
    record: own,
    leftOverGraceMs: 200,
    onLeftOver: (left: ProcessRecord) => ended.push(left),
  };
  return { path, own, ended, file: await RunFile.claim(options) };
}

/** A process that leads its own group, as the programs of a run do. */
async function startProcess(script: string): Promise<ProcessRecord> {
  const child = spawn("/bin/sh", ["-c", script], { detached: true, stdio: ["ignore", "pipe", "ignore"] });
  await once(child.stdout, "data");
  const pid = child.pid ?? 0;
  onTestFinished(() => {
    if (child.exitCode === null && child.signalCode === null) process.kill(-pid, "SIGKILL");
  });
  return describeProcess("backend", pid);
}

describe("RunFile", () => {
  it("records a run for its owner only, and leaves nothing when released", async () => {
    const path = join(createDataDirectory(), "run.json");
    const own = record({});
    const file = await RunFile.claim({ path, record: own, leftOverGraceMs: 0, onLeftOver: () => undefined });
    expect(readRunFile(path)).toEqual(own);
    file.write({ ...own, state: "ready" });
    expect(readRunFile(path)?.state).toBe("ready");
    expect(statSync(path).mode & 0o777).toBe(0o600);
    file.release();
    expect(existsSync(path)).toBe(false);
  });

  it("refuses a directory whose run is alive", async () => {
    const claim = claimAfter(record({ url: "http://127.0.0.1:9999" }));
    await expect(claim).rejects.toThrow(AlreadyRunningError);
    await expect(claim).rejects.toThrow(`already running as pid ${process.pid} at http://127.0.0.1:9999`);
  });

  it("takes a directory whose run is dead, also when its pid was given to another process", async () => {
    const reused = { ...describeProcess("start", process.pid), identity: "boot/1" };
    for (const process of [DEAD, reused]) {
      const { own, path } = await claimAfter(record({ process }));
      expect(readRunFile(path)).toEqual(own);
    }
  });

  it.each(["", "{", "[]", '{"state":"ready"}', "null"])(
    "takes a directory whose file holds %j",
    async (text) => {
      const { own, path } = await claimAfter(text);
      expect(readRunFile(path)).toEqual(own);
    },
  );

  it("ends what a dead run left, asking first", async () => {
    const obedient = await startProcess("trap 'exit 0' TERM; echo; while :; do sleep 0.05; done");
    const stubborn = await startProcess("trap '' TERM; echo; while :; do sleep 0.05; done");
    const { ended } = await claimAfter(record({ process: DEAD, children: [obedient, stubborn] }));
    expect(ended).toEqual([obedient, stubborn]);
    expect(processIdentity(obedient.pid)).toBe(undefined);
    expect(processIdentity(stubborn.pid)).toBe(undefined);
  });

  it("never touches a stranger that got the pid of a left-over", async () => {
    const stranger = await startProcess("echo; sleep 30");
    const child = { ...stranger, identity: "boot/1" };
    const { ended } = await claimAfter(record({ process: DEAD, children: [child] }));
    expect(ended).toEqual([]);
    expect(processIdentity(stranger.pid)).toBe(stranger.identity);
  });
});

describe("processIdentity", () => {
  it("stays the same while a process runs, differs between processes, and ends with them", async () => {
    const other = await startProcess("echo; sleep 30");
    expect(processIdentity(process.pid)).toBe(processIdentity(process.pid));
    expect(processIdentity(other.pid)).not.toBe(processIdentity(process.pid));
    expect(processIdentity(DEAD.pid)).toBe(undefined);
  });
});
