/** The commands that docs/operations.md shows, run as they stand there, by a shell, on an empty machine. */
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, describe, expect, it } from "vitest";
import { copyEmptyDatabase } from "../support/database-template.ts";

const PROJECT_DIRECTORY = fileURLToPath(new URL("../..", import.meta.url));
/** Each command opens the database anew, which takes seconds. */
const LIMIT_MS = 300_000;

const folder = mkdtempSync(join(tmpdir(), "parley-documented-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** The lines of the block that has this text. */
function documentedBlock(text: string): string[] {
  const operations = readFileSync(join(PROJECT_DIRECTORY, "docs/operations.md"), "utf8");
  const blocks = [...operations.matchAll(/```sh\n([^`]+)```/g)].map(([, block = ""]) => block);
  return (blocks.find((block) => block.includes(text)) ?? "").trim().split("\n");
}

describe("docs/operations.md", () => {
  it("shows commands of administration that work as they stand there", { timeout: LIMIT_MS }, async () => {
    await copyEmptyDatabase(join(folder, "postgres"));
    const commands = documentedBlock("npm run admin -- tenant create");
    expect(commands.length).toBeGreaterThanOrEqual(9);
    const { DATABASE_URL: _, ...environment } = process.env;
    const { stdout } = await promisify(execFile)("bash", ["-e", "-c", commands.join("\n")], {
      cwd: PROJECT_DIRECTORY,
      env: { ...environment, DATA_DIRECTORY: folder, npm_config_loglevel: "silent" },
    });
    expect(stdout).toMatch(/key +parley_[a-z0-9]{12}_/);
    expect(stdout).toContain('"id": "parrot"');
    for (const action of ["tenant.create", "tenant.patch"]) expect(stdout).toContain(action);
  });
});
