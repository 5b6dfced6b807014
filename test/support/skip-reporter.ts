/**
 * Ends a test run with what was skipped for want of a program, how to install it, and, alone on the last line, the
 * counts: `N passed, N failed, N skipped`.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { SerializedError } from "vitest";
import type { Reporter, TestModule, TestState, Vitest } from "vitest/node";
import { MISSING_REQUIREMENTS_FILE, type Requirement } from "./requirements.ts";

/** To be listed after the reporter whose summary it follows. */
export class SkipReporter implements Reporter {
  #print: (text: string) => void = () => undefined;
  #directory: string | undefined;

  /** The workers that run the tests inherit this process's environment. */
  onInit(vitest: Vitest): void {
    this.#print = (text) => vitest.logger.log(text);
    this.#directory = mkdtempSync(join(tmpdir(), "parley-test-"));
    process.env[MISSING_REQUIREMENTS_FILE] = join(this.#directory, "missing.jsonl");
    vitest.onClose(() => {
      if (this.#directory) rmSync(this.#directory, { recursive: true, force: true });
    });
  }

  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly SerializedError[]): void {
    const skippedIn = modules
      .map((module) => ({ file: module.relativeModuleId, tests: countTests(module, "skipped") }))
      .filter(({ tests }) => tests > 0);
    const missing = readMissing(process.env[MISSING_REQUIREMENTS_FILE]);
    if (missing.length > 0) {
      this.#print("\nNot installed, so that tests were skipped:\n");
      this.#print(renderTable(["program", "why", "to install it"], missing.map(toRow)));
    }
    if (skippedIn.length > 0) {
      this.#print(
        `\n${renderTable(
          ["skipped", "in"],
          skippedIn.map(({ file, tests }) => [String(tests), file]),
        )}`,
      );
    }
    const passed = sum(modules.map((module) => countTests(module, "passed")));
    const skipped = sum(skippedIn.map(({ tests }) => tests));
    const failed = sum(modules.map(countFailures)) + unhandledErrors.length;
    this.#print(`\n${passed} passed, ${failed} failed, ${skipped} skipped`);
  }
}

function countTests(module: TestModule, state: TestState): number {
  return [...module.children.allTests(state)].length;
}

/** A file or suite that fails outside of its tests (in loading, in a hook) has no failed test to show for it. */
function countFailures(module: TestModule): number {
  const suites = [module, ...module.children.allSuites()];
  return countTests(module, "failed") + sum(suites.map((suite) => suite.errors().length));
}

/** What the workers noted; each requirement once. */
function readMissing(file: string | undefined): Requirement[] {
  if (!file || !existsSync(file)) return [];
  const lines = readFileSync(file, "utf8").trim().split("\n");
  return [...new Set(lines)]
    .map((line): Requirement => JSON.parse(line))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

function toRow({ name, reason, install }: Requirement): string[] {
  return [name, reason, install];
}

/** Columns as wide as their widest cell. */
function renderTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)),
  );
  const render = (row: readonly string[]) =>
    `  ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  ")}`.trimEnd();
  return [head, widths.map((width) => "─".repeat(width)), ...rows].map(render).join("\n");
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
