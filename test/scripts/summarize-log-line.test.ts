/** Which log lines reach the terminal, and what is left of them. */
import { describe, expect, it } from "vitest";
import { mayHaveWarnings, summarizeLogLine } from "../../scripts/summarize-log-line.ts";

describe("summarizeLogLine", () => {
  it.each([
    ['{"level":40,"msg":"slow"}', "warn: slow", true],
    ['{"level":50,"msg":"failed","err":{"message":"ECONNREFUSED"}}', "error: failed: ECONNREFUSED", true],
    ['{"level":"error","message":"no","requestId":"r1"}', "error: no (request r1)", true],
    ['{"level":"warn"}', "warn: (no message)", true],
    ['{"level":30,"msg":"fine"}', "info: fine", false],
    ['{"level":"info","message":"fine"}', "info: fine", false],
  ])("makes of %s: %s", (line, text, isWarning) => {
    expect(summarizeLogLine(line)).toEqual({ text, isWarning });
    expect(mayHaveWarnings(`{"level":30}\n${line}\n`)).toBe(isWarning);
  });

  it.each(['{"level":50,"msg":"cut', "plain text", "{}", "[]", ""])("leaves %j alone", (line) => {
    expect(summarizeLogLine(line)).toBe(undefined);
  });
});
