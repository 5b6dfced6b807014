/** The client library as it is packed, and the examples of its documentation, run by plain Node. */
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type SessionGateway, startSessionGateway } from "../support/session-gateway.ts";

const PROJECT_DIRECTORY = fileURLToPath(new URL("../..", import.meta.url));
const run = promisify(execFile);
const documentation = readFileSync(join(PROJECT_DIRECTORY, "docs/client.md"), "utf8");
const examples = [...documentation.matchAll(/^```js\n([\s\S]*?)^```/gm)].map(([, code]) => code ?? "");

describe("the packed client", () => {
  const directory = mkdtempSync(join(tmpdir(), "parley-package-"));
  let gateway: SessionGateway;

  beforeAll(async () => {
    gateway = await startSessionGateway();
    const { stdout } = await run("npm", ["pack", "--silent", "--pack-destination", directory], {
      cwd: PROJECT_DIRECTORY,
    });
    const tarball = join(directory, stdout.trim().split("\n").at(-1) ?? "");
    const installed = join(directory, "node_modules/parley");
    mkdirSync(installed, { recursive: true });
    await run("tar", ["-xzf", tarball, "-C", installed, "--strip-components=1"]);
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

  it("has no example that is not run", () => expect(examples).toHaveLength(expected.length));
});
