/** The client library as it is packed, and the examples of its documentation, run by plain Node; and in a Worker. */
import { execFile } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type SessionGateway, startSessionGateway } from "../support/session-gateway.ts";
import { buildDeployedWorker, startWorkerd } from "../support/workerd.ts";

const PROJECT_DIRECTORY = fileURLToPath(new URL("../..", import.meta.url));
const run = promisify(execFile);
const documentation = readFileSync(join(PROJECT_DIRECTORY, "docs/client.md"), "utf8");
const examples = [...documentation.matchAll(/^```js\n([\s\S]*?)^```/gm)].map(([, code]) => code ?? "");

describe("the packed client", () => {
  const directory = mkdtempSync(join(tmpdir(), "parley-package-"));
  let gateway: SessionGateway;

  beforeAll(async () => {
    gateway = await startSessionGateway();
    const built = join(directory, "built");
    await run(process.execPath, ["scripts/build-client.ts", built], { cwd: PROJECT_DIRECTORY });
    const { stdout } = await run("npm", ["pack", built, "--silent", "--pack-destination", directory]);
    const tarball = join(directory, stdout.trim().split("\n").at(-1) ?? "");
    writeFileSync(join(directory, "package.json"), JSON.stringify({ type: "module", private: true }));
    await run("npm", ["install", "--offline", "--no-audit", "--no-fund", tarball], { cwd: directory });
  });

  afterAll(async () => {
    await gateway?.stop();
    rmSync(directory, { recursive: true, force: true });
  });

  /** First and last line of each. */
  const expected = [
    ["hello back", "hello"], // The scripted backend answers a whole reply so.
    ["one", "true canceled"],
  ];
  it.each([0, 1])("runs example %i of docs/client.md outside the project", async (index) => {
    const file = join(directory, `example-${index}.mjs`);
    writeFileSync(file, examples[index] ?? "");
    const { stdout } = await run(process.execPath, [file], {
      cwd: directory,
      env: { PATH: process.env["PATH"], PARLEY_URL: gateway.url, PARLEY_KEY: gateway.neon.apiKey },
    });
    const lines = stdout.trim().split("\n");
    expect(lines[0]).toBe(expected[index]?.[0]);
    expect(lines.at(-1)).toBe(expected[index]?.at(-1));
  });

  it("brings nothing but itself, with its types and its documentation", () => {
    const installed = readdirSync(join(directory, "node_modules")).filter((name) => !name.startsWith("."));
    expect(installed).toEqual(["parley-client"]);
    const files = readdirSync(join(directory, "node_modules/parley-client"));
    expect(files).toEqual(expect.arrayContaining(["index.js", "index.d.ts", "package.json", "README.md"]));
    expect(files.filter((file) => !/\.(?:js|d\.ts|json|md)$/.test(file))).toEqual([]);
  });

  it("sends, streams and connects in a Worker", async () => {
    const configFile = join(directory, "wrangler.toml");
    const main = join(PROJECT_DIRECTORY, "test/support/client-worker.ts");
    writeFileSync(configFile, `name = "client"\nmain = "${main}"\ncompatibility_date = "2026-01-01"\n`);
    const { path } = await buildDeployedWorker(join(directory, "worker"), configFile);
    const bindings = { PARLEY_URL: gateway.url, PARLEY_KEY: gateway.neon.apiKey };
    const worker = await startWorkerd({ modulePath: path, bindings, durableObjects: [] });
    try {
      const answer = await fetch(worker.url);
      expect(await answer.json()).toEqual(["hello back", "hello", "one", "two"]);
    } finally {
      await worker.stop();
    }
  }, 60_000);

  it("has no example that is not run", () => expect(examples).toHaveLength(expected.length));
});
