/** What the lock on a data directory guarantees. */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, describe, expect, it } from "vitest";
import { lockDirectory } from "../../../backend/stores/directory-lock.ts";

const hasProc = existsSync("/proc/self/stat");

describe("lockDirectory", () => {
  const folder = mkdtempSync(join(tmpdir(), "parley-lock-"));
  const path = join(folder, "postgres.lock");
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  beforeEach(() => {
    rmSync(path, { force: true });
    rmSync(`${path}.takeover`, { force: true });
  });

  const leave = (holder: object | string) =>
    writeFileSync(path, typeof holder === "string" ? holder : JSON.stringify(holder));
  const holderNow = () => JSON.parse(readFileSync(path, "utf8")) as { pid: number; startedAt?: string };
  /** The number of a process that has ended. */
  const deadPid = () => spawnSync(process.execPath, ["--version"]).pid;

  it("names its holder, and is gone when it is given back", async () => {
    const lock = await lockDirectory(path);
    expect(holderNow()).toMatchObject({ pid: process.pid, host: hostname() });
    lock.release();
    lock.release();
    expect(existsSync(path)).toBe(false);
  });

  it("is refused while a live process holds it, naming the process", async () => {
    const child = spawn(process.execPath, ["-e", "setTimeout(() => {}, 60000)"]);
    await once(child, "spawn");
    leave({ pid: child.pid, host: hostname() });
    await expect(lockDirectory(path)).rejects.toMatchObject({
      code: "failed_precondition",
      reason: "directory-locked",
      message: expect.stringContaining(`in use by process ${child.pid}`),
    });
    expect(holderNow().pid).toBe(child.pid);
    child.kill("SIGKILL");
    await once(child, "exit");
    (await lockDirectory(path)).release();
  });

  it("is refused to a second taker in the same process", async () => {
    const lock = await lockDirectory(path);
    await expect(lockDirectory(path)).rejects.toMatchObject({ code: "failed_precondition" });
    lock.release();
  });

  it("is taken over from a process that is gone", async () => {
    leave({ pid: deadPid(), host: hostname() });
    const lock = await lockDirectory(path);
    expect(holderNow().pid).toBe(process.pid);
    lock.release();
  });

  it.runIf(hasProc)("is taken over when the holder's number belongs to a later process", async () => {
    leave({ pid: process.pid, host: hostname(), startedAt: "another-boot/1" });
    const lock = await lockDirectory(path);
    expect(holderNow().startedAt).not.toBe("another-boot/1");
    lock.release();
  });

  it("is taken over when its writer died before it wrote anything", async () => {
    leave("");
    (await lockDirectory(path)).release();
  });

  it("is not taken over from another host, of whose processes nothing is known", async () => {
    leave({ pid: deadPid(), host: "another-host" });
    await expect(lockDirectory(path)).rejects.toMatchObject({
      code: "failed_precondition",
      message: expect.stringMatching(/on the host another-host; if that is gone, delete .*postgres\.lock/),
    });
  });

  it("goes to exactly one of several that find it stale at once", async () => {
    leave({ pid: deadPid(), host: hostname() });
    const takers = await Promise.allSettled(Array.from({ length: 10 }, () => lockDirectory(path)));
    const locks = takers.filter((taker) => taker.status === "fulfilled");
    expect(locks).toHaveLength(1);
    locks[0]?.value.release();
    expect(existsSync(`${path}.takeover`)).toBe(false);
  });

  it("goes to exactly one of several processes that find it stale at once", async () => {
    leave({ pid: deadPid(), host: hostname() });
    const module = new URL("../../../backend/stores/directory-lock.ts", import.meta.url).href;
    const program = `
      const { lockDirectory } = await import(${JSON.stringify(module)});
      await lockDirectory(${JSON.stringify(path)}).then(() => console.log("taken"), () => console.log("refused"));
      setTimeout(() => {}, 60000);`;
    const children = Array.from({ length: 4 }, () =>
      spawn(process.execPath, ["--input-type=module", "-e", program], {
        stdio: ["ignore", "pipe", "inherit"],
      }),
    );
    const answers = await Promise.all(
      children.map(async (child) => {
        const [text] = await once(child.stdout.setEncoding("utf8"), "data");
        return String(text).trim();
      }),
    );
    for (const child of children) child.kill("SIGKILL");
    expect(answers.sort()).toEqual(["refused", "refused", "refused", "taken"]);
  });

  it("gets past the mark of a process that died while it took over", async () => {
    leave({ pid: deadPid(), host: hostname() });
    writeFileSync(`${path}.takeover`, "");
    const longAgo = new Date(Date.now() - 60_000);
    utimesSync(`${path}.takeover`, longAgo, longAgo);
    (await lockDirectory(path)).release();
  });

  it("does not remove a lock that somebody else has taken since", async () => {
    const lock = await lockDirectory(path);
    leave({ pid: 1, host: hostname() });
    lock.release();
    expect(holderNow().pid).toBe(1);
  });
});
