/** Reduces a program's structured log to what a person at the terminal wants of it: level and message, on one line. */

/** Pino's numbers (`level` of the backend's lines) and what they are called. */
const LEVEL_NAMES: Readonly<Record<string, string>> = {
  10: "trace",
  20: "debug",
  30: "info",
  40: "warn",
  50: "error",
  60: "fatal",
};
const LEVELS_SHOWN: ReadonlySet<string> = new Set(["warn", "error", "fatal"]);
/** A quick look at a whole chunk of output; nearly all of them have nothing to show and are not taken apart. */
const MAY_BE_SHOWN = /"level":\s*(?:"(?:warn|error|fatal)"|[456]0\b)/;

/** A line of structured log, reduced. */
export interface LogSummary {
  /** `level: message: cause (request id)`, as far as the line has them. */
  readonly text: string;
  /** Whether it is a warning or worse. */
  readonly isWarning: boolean;
}

/** Whether some line of structured log in the text is worth a closer look. */
export function mayHaveWarnings(text: string): boolean {
  return MAY_BE_SHOWN.test(text);
}

/** The essence of a line of structured log; undefined for any other text. */
export function summarizeLogLine(line: string): LogSummary | undefined {
  const entry = parseEntry(line);
  if (entry?.["level"] === undefined) return undefined;
  const level = LEVEL_NAMES[String(entry["level"])] ?? String(entry["level"]);
  const message = entry["msg"] ?? entry["message"] ?? "(no message)";
  const cause = (entry["err"] as { message?: unknown } | undefined)?.message;
  const request = entry["requestId"] === undefined ? "" : ` (request ${entry["requestId"]})`;
  return {
    text: `${level}: ${message}${cause && cause !== message ? `: ${cause}` : ""}${request}`,
    isWarning: LEVELS_SHOWN.has(level),
  };
}

function parseEntry(line: string): Record<string, unknown> | undefined {
  if (!line.startsWith("{")) return undefined;
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}
