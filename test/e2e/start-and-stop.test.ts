/** npm start's own promises: one run a directory, nothing left behind, nothing lost by a kill -9. */
import { fork } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { type Gateway, startGateway } from "../support/gateway.ts";
import { ask } from "./ask.ts";

const LIMIT_MS = 90_000;
const message = { receiverId: "echo", text: "hello" };

const isAlive = (pid: number) => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};
const pidsOf = ({ record }: Gateway) => record.children.map(({ pid }) => pid);
const answers = (url: string) =>
  fetch(`${url}/healthz`).then(
    () => true,
    () => false,
  );

describe("npm start", () => {
  it("writes the development key for its owner only, and ends everything at Ctrl-C", {
    timeout: LIMIT_MS,
  }, async () => {
    const gateway = await startGateway({ dataDirectory: mkdtempSync(join(tmpdir(), "parley-")) });
    const keyFile = join(gateway.dataDirectory, "development-key");
    expect(statSync(keyFile).mode & 0o777).toBe(0o600);
    expect((await ask(gateway, message)).status).toBe(200);
    expect(await gateway.stop()).toBe(0);
    expect(pidsOf(gateway).filter(isAlive)).toEqual([]);
    expect(await answers(gateway.url)).toBe(false);
    gateway.remove();
  });

  it("refuses a second run on the same directory and says which one has it", {
    timeout: LIMIT_MS,
  }, async () => {
    const gateway = await startGateway();
    const second = await startGateway({ dataDirectory: gateway.dataDirectory }).catch((error) => error);
    expect(second.message).toContain(`already running as pid ${gateway.process.pid}`);
    expect((await ask(gateway, message)).status).toBe(200);
    await gateway.stop();
    gateway.remove();
  });

  it("leaves nothing running after kill -9, and starts again with its data and its key", {
    timeout: LIMIT_MS,
  }, async () => {
    const gateway = await startGateway();
    const { body } = await ask(gateway, message);
    gateway.process.kill("SIGKILL");
    await expect.poll(() => answers(gateway.url), { timeout: 10_000 }).toBe(false);
    await expect.poll(() => pidsOf(gateway).filter(isAlive), { timeout: 40_000, interval: 250 }).toEqual([]);
    const again = await startGateway({ dataDirectory: gateway.dataDirectory });
    expect(again.key).toBe(gateway.key);
    expect((await ask(again, message)).status).toBe(200);
    const rows = await again.database.query("select 1 from messages where task_id = $1", [body.taskId]);
    expect(rows).toHaveLength(2);
    await again.stop();
    again.remove();
  });

  it("starts again at once after everything was killed with -9", { timeout: LIMIT_MS }, async () => {
    const gateway = await startGateway();
    const { body } = await ask(gateway, message);
    for (const pid of [gateway.process.pid ?? 0, ...pidsOf(gateway)]) process.kill(pid, "SIGKILL");
    await sleep(50);
    const again = await startGateway({ dataDirectory: gateway.dataDirectory });
    expect((await ask(again, message)).status).toBe(200);
    const rows = await again.database.query("select 1 from messages where task_id = $1", [body.taskId]);
    expect(rows).toHaveLength(2);
    await again.stop();
    expect([...pidsOf(gateway), ...pidsOf(again)].filter(isAlive)).toEqual([]);
    again.remove();
  });
});

describe("a backend", () => {
  it("ends by itself when its parent has gone while it started", { timeout: LIMIT_MS }, async () => {
    const dataDirectory = mkdtempSync(join(tmpdir(), "parley-"));
    const child = fork("backend/main.ts", {
      stdio: ["ignore", "ignore", "pipe", "ipc"],
      env: { ...process.env, BACKEND_PORT: "0", DATA_DIRECTORY: dataDirectory },
    });
    child.disconnect();
    const complaints: string[] = [];
    child.stderr?.setEncoding("utf8").on("data", (text: string) => complaints.push(text));
    expect(await once(child, "exit")).toEqual([0, null]);
    expect(complaints.join("")).toBe("");
    rmSync(dataDirectory, { recursive: true });
  });
});
