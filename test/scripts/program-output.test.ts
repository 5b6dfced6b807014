/** What of a program's output reaches its log, the terminal and the report of its end. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { finished } from "node:stream/promises";
import { describe, expect, it } from "vitest";
import { ProgramOutput } from "../../scripts/program-output.ts";
import { createDataDirectory } from "./start-fixture.ts";

/** Feeds chunks to both streams and returns what came of them. */
async function outputOf(stdoutChunks: string[], stderrChunks: string[] = []) {
  const path = join(createDataDirectory(), "backend.log");
  const shown: string[] = [];
  const output = new ProgramOutput("backend", path, (line) => shown.push(line));
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  output.read({ stdout, stderr });
  for (const chunk of stdoutChunks) stdout.write(chunk);
  for (const chunk of stderrChunks) stderr.write(chunk);
  await Promise.all([stdout, stderr].map((stream) => finished(stream.end())));
  const lastLines = output.lastLines();
  output.close();
  return { log: readFileSync(path, "utf8"), shown, lastLines };
}

describe("ProgramOutput", () => {
  it("logs everything and shows warnings, also when a line comes in pieces or without an end", async () => {
    const { log, shown } = await outputOf([
      '{"level":30,"msg":"a"}\n{"level":4',
      '0,"msg":"b"}\n{"level":50,',
      '"msg":"c"}',
    ]);
    expect(log).toBe('{"level":30,"msg":"a"}\n{"level":40,"msg":"b"}\n{"level":50,"msg":"c"}');
    expect(shown).toEqual(["[backend] warn: b", "[backend] error: c"]);
  });

  it("shows free text of standard error, and not of standard output", async () => {
    const { shown } = await outputOf(["hello\n"], ["Error: boom\n    at x\n\n"]);
    expect(shown).toEqual(["[backend] Error: boom", "[backend]     at x"]);
  });

  it("keeps the last lines in short form, not more than a handful", async () => {
    const chunks = Array.from({ length: 5000 }, (_, i) => `line ${i}\n`);
    const { lastLines } = await outputOf([...chunks, '{"level":30,"msg":"turn answered"}\n']);
    expect(lastLines.split("\n")).toHaveLength(10);
    expect(lastLines).toMatch(/line 4999\ninfo: turn answered$/);
  });

  it("takes a line without end in bounded memory and linear time", async () => {
    const { log } = await outputOf(Array.from({ length: 64 }, () => "x".repeat(65_536)));
    expect(log).toHaveLength(64 * 65_536);
  });

  it("drops what comes after it was closed", async () => {
    const path = join(createDataDirectory(), "backend.log");
    const output = new ProgramOutput("backend", path, () => undefined);
    const stdout = new PassThrough();
    output.read({ stdout, stderr: null });
    output.close();
    await finished(stdout.end("late\n"));
    expect(readFileSync(path, "utf8")).toBe("");
  });
});
