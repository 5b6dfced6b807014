/** Finding programs, and what happens when they are not there. */
import { mkdtempSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { MISSING_REQUIREMENTS_FILE, requirement } from "./requirements.ts";

function temporaryDirectory(): string {
  const directory = realpathSync(mkdtempSync(join(tmpdir(), "parley-requirements-")));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  return directory;
}

describe("requirement", () => {
  it("finds a program on PATH, by its real path", () => {
    const directory = temporaryDirectory();
    writeFileSync(join(directory, "real"), "", { mode: 0o755 });
    symlinkSync("real", join(directory, "redis-server"));
    expect(requirement("redis", { PATH: `/does/not/exist::${directory}` })).toMatchObject({
      name: "redis",
      available: true,
      path: join(directory, "real"),
      reason: "",
    });
  });

  it("does not take a file that cannot be run for a program", () => {
    const directory = temporaryDirectory();
    writeFileSync(join(directory, "redis-server"), "", { mode: 0o644 });
    expect(requirement("redis", { PATH: directory }).available).toBe(false);
  });

  it("says why it is missing and how to install it, and notes it for the reporter", () => {
    const file = join(temporaryDirectory(), "missing.jsonl");
    const missing = requirement("redis", { [MISSING_REQUIREMENTS_FILE]: file });
    expect(missing).toEqual({
      name: "redis",
      available: false,
      path: "",
      reason: "no redis-server on PATH",
      install: "apt-get install redis-server, or brew install redis",
    });
    expect(JSON.parse(readFileSync(file, "utf8"))).toEqual(missing);
  });

  it("throws with CI=true, and only then", () => {
    expect(() => requirement("redis", { CI: "true" })).toThrow("redis is required with CI=true");
    expect(requirement("redis", { CI: "false" }).available).toBe(false);
  });
});
