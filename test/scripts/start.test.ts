/** The life of `npm start`, with a backend and a worker that stand in for the real ones, in real processes. */
import { existsSync, readFileSync, statSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { RESTARTS_MAX } from "../../scripts/restart-budget.ts";
import { readRunFile } from "../../scripts/run-file.ts";
import {
  anyRuns,
  createDataDirectory,
  eventually,
  killGuard,
  killProgram,
  pidOf,
  startScript,
} from "./start-fixture.ts";

const getJson = async (url: string): Promise<Record<string, string>> =>
  (await fetch(url)).json() as Promise<Record<string, string>>;

describe("start", { timeout: 40_000 }, () => {
  it("serves, says where, tells both programs what they share, and ends both on SIGTERM", async () => {
    const directory = createDataDirectory();
    const script = startScript(directory, { LOG_LEVEL: "warn", OPENAI_API_KEY: "sk-test" });
    const record = await script.ready;
    expect(record).toMatchObject({ state: "ready", developmentKeyFile: join(directory, "development-key") });
    expect(readRunFile(join(directory, "run.json"))).toEqual(record);

    const edge = await getJson(record.url);
    const backend = await getJson(record.backendUrl);
    expect(edge["BACKEND_URLS"]).toBe(record.backendUrl);
    expect(edge["BACKEND_TOKEN_SECRET"]).toBe(backend["BACKEND_TOKEN_SECRET"]);
    expect(edge["BACKEND_TOKEN_SECRET"]).toMatch(/^[\w-]{43}$/);
    expect(edge["DATABASE_URL"]).toBe(
      `postgres://parley:${backend["NEON_ENDPOINT_SECRET"]}@localhost/parley`,
    );
    expect(edge["DATABASE_ENDPOINT"]).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/sql$/);
    expect(edge["LOG_LEVEL"]).toBe("warn");
    expect(edge).not.toHaveProperty("OPENAI_API_KEY");
    expect(backend["OPENAI_API_KEY"]).toBe("sk-test");
    expect(script.stderr()).toContain("[backend] warn: no model is configured (request r-1)");
    for (const file of ["edge.capnp", "run.json", "logs/backend.log"]) {
      expect(statSync(join(directory, file)).mode & 0o077, file).toBe(0);
    }

    script.child.kill("SIGTERM");
    expect(await script.exited).toBe(0);
    expect(anyRuns(record)).toBe(false);
    expect(existsSync(join(directory, "run.json"))).toBe(false);
  });

  it("leaves nothing running when it is killed, and starts again", async () => {
    const directory = createDataDirectory();
    const first = startScript(directory);
    const record = await first.ready;
    first.child.kill("SIGKILL");
    await eventually(() => !anyRuns(record), "backend and edge ended by themselves");

    const second = startScript(directory);
    await second.ready;
    second.child.kill("SIGINT");
    expect(await second.exited).toBe(0);
  });

  it("ends what an earlier run left behind, whether its guard was killed or did not help", async () => {
    const directory = createDataDirectory();
    const environment = { FAKE_BACKEND: "deaf", DRAIN_GRACE_MS: "60000" };
    const first = startScript(directory, environment);
    const record = await first.ready;
    killGuard(directory, "edge");
    first.child.kill("SIGKILL");
    await first.exited;
    expect(anyRuns(record)).toBe(true);

    const second = startScript(directory);
    await second.ready;
    for (const { name, pid } of record.children) {
      expect(second.stderr()).toContain(`ending the ${name} of an earlier run (pid ${pid})`);
    }
    expect(anyRuns(record)).toBe(false);
  });

  it("starts a crashed program again, at the same addresses", async () => {
    const directory = createDataDirectory();
    const script = startScript(directory);
    const record = await script.ready;
    const endpoint = (await getJson(record.url))["DATABASE_ENDPOINT"] ?? "";

    await fetch(`${record.backendUrl}/crash`).catch(() => undefined);
    await eventually(() => script.stderr().includes("backend runs again"), "the backend is restarted");
    expect(script.stderr()).toContain("backend ended with code 7 unexpectedly; its last lines:\n");
    expect(script.stderr()).toContain("  | it hurts");
    expect((await fetch(`${record.url}/readyz`)).status).toBe(200);
    expect((await fetch(endpoint)).status).toBe(200);

    killProgram(directory, "edge");
    await eventually(() => script.stderr().includes("edge runs again"), "the edge is restarted");
    expect(script.stderr()).toContain("edge was ended by SIGKILL unexpectedly");
    expect((await fetch(`${record.url}/readyz`)).status).toBe(200);
    expect(pidOf(directory, "edge")).not.toBe(record.children.find(({ name }) => name === "edge")?.pid);
  });

  it("gives up with code 1 on a program that keeps crashing, and ends the other one", async () => {
    const directory = createDataDirectory();
    const script = startScript(directory);
    const record = await script.ready;
    for (let crash = 0; crash <= RESTARTS_MAX; crash++) {
      const pid = pidOf(directory, "edge");
      killProgram(directory, "edge");
      await eventually(
        () => pidOf(directory, "edge") !== pid,
        `the end of edge number ${crash + 1} is noticed`,
      );
    }
    expect(await script.exited).toBe(1);
    expect(script.stderr()).toContain("edge ended too often; not starting it again");
    expect(anyRuns(record)).toBe(false);
  });

  it("refuses a second start in the same data directory and names the first", async () => {
    const directory = createDataDirectory();
    const first = startScript(directory);
    const record = await first.ready;
    const second = startScript(directory);
    expect(await second.exited).toBe(1);
    expect(second.stderr()).toContain(`already running as pid ${first.child.pid} at ${record.url}`);
    expect((await fetch(`${record.url}/readyz`)).status).toBe(200);
  });

  it.each(["PORT", "BACKEND_PORT"])("says that %s is taken, and how to change it", async (variable) => {
    const server = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    const { port } = server.address() as AddressInfo;
    const script = startScript(createDataDirectory(), { [variable]: String(port) });
    expect(await script.exited).toBe(1);
    expect(script.stderr()).toContain(
      `port ${port} on 127.0.0.1 is in use by another program; set ${variable}`,
    );
    server.close();
  });

  it("passes on why the backend cannot start", async () => {
    const directory = createDataDirectory();
    const script = startScript(directory, { FAKE_BACKEND: "refuse" });
    expect(await script.exited).toBe(1);
    expect(script.stderr()).toContain(
      "backend ended with code 1; its last lines:\n  | DATABASE_URL: must be a URL",
    );
    expect(readFileSync(join(directory, "logs/backend.log"), "utf8")).toBe("DATABASE_URL: must be a URL\n");
    expect(existsSync(join(directory, "run.json"))).toBe(false);
  });

  it("ends at once on a second signal, however long the backend would take", async () => {
    const script = startScript(createDataDirectory(), { FAKE_BACKEND: "deaf", DRAIN_GRACE_MS: "60000" });
    const record = await script.ready;
    script.child.kill("SIGINT");
    // What npm does: hands on the signal that the terminal has sent. It must not count as the second one.
    script.child.kill("SIGINT");
    await new Promise((resolve) => setTimeout(resolve, 700));
    expect(script.child.exitCode).toBe(null);
    script.child.kill("SIGINT");
    expect(await script.exited).toBe(130);
    await eventually(() => !anyRuns(record), "both programs are gone");
  });
});
