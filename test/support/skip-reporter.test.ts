/** The last words of a test run, seen by running one. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { text } from "node:stream/consumers";
import { describe, expect, it } from "vitest";

const VITEST = join(dirname(createRequire(import.meta.url).resolve("vitest/package.json")), "vitest.mjs");
const CONFIG = join(import.meta.dirname, "fixtures", "vitest.config.ts");

/** Runs the fixtures whose names contain the word; returns the output without colours, and the exit code. */
async function runFixture(word: string, environment: NodeJS.ProcessEnv = {}) {
  const { CI: _, VITEST: __, ...inherited } = process.env;
  const child = spawn(process.execPath, [VITEST, "run", "--config", CONFIG, word], {
    env: { ...inherited, NO_COLOR: "1", ...environment },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const ended = once(child, "close");
  const [output, errors, [code]] = await Promise.all([text(child.stdout), text(child.stderr), ended]);
  return { output, errors, lastLine: output.trimEnd().split("\n").at(-1), code };
}

describe("SkipReporter", { timeout: 30_000 }, () => {
  it("says what is not installed, how to install it, and where tests were skipped for it", async () => {
    const { output, lastLine, code } = await runFixture("missing");
    expect(output).toMatch(/\n {2}program +why +to install it\n/);
    expect(output).toMatch(/\n {2}redis +no redis-server on PATH +apt-get install redis-server, or /);
    expect(output).toMatch(/\n {2}2 +test\/support\/fixtures\/missing\.fixture\.ts\n/);
    expect(lastLine).toBe("1 passed, 0 failed, 2 skipped");
    expect(code).toBe(0);
  });

  it("fails with CI=true when something is not installed", async () => {
    const { errors, lastLine, code } = await runFixture("missing", { CI: "true" });
    expect(errors).toContain(
      "redis is required with CI=true: no redis-server on PATH. To install it: apt-get",
    );
    expect(lastLine).toBe("0 passed, 1 failed, 0 skipped");
    expect(code).toBe(1);
  });

  it("counts failed hooks and files that cannot be loaded as failures", async () => {
    expect((await runFixture("failing")).lastLine).toBe("0 passed, 2 failed, 1 skipped");
    expect((await runFixture("broken")).lastLine).toBe("0 passed, 1 failed, 0 skipped");
  });
});
