/**
 * Where a supervised program's output goes: all of it to a log file of bounded size, warnings and errors also to the
 * terminal in short form. Works on chunks, not lines, where it can: it must not slow the program down.
 */
import { closeSync, fstatSync, openSync, renameSync, writeSync } from "node:fs";
import type { Readable } from "node:stream";
import { mayHaveWarnings, summarizeLogLine } from "./summarize-log-line.ts";

/** A log file that has grown to this is moved to `<name>.1`, replacing the one before. */
const LOG_BYTES_MAX = 32 * 1024 * 1024;
/** Kept for the report when the program ends unexpectedly. */
const TAIL_CHARACTERS_MAX = 8192;
const TAIL_LINES_MAX = 10;
/** A line that goes on for longer is taken as it is. */
const LINE_CHARACTERS_MAX = 64 * 1024;

/** Takes the output of one program, over all its restarts. */
export class ProgramOutput {
  readonly #program: string;
  readonly #path: string;
  readonly #show: (line: string) => void;
  #file: number;
  #bytes: number;
  #tail = "";
  #closed = false;

  /**
   * @param path the log file; appended to, only its owner may read it
   * @param show prints one line on the terminal
   */
  constructor(program: string, path: string, show: (line: string) => void) {
    this.#program = program;
    this.#path = path;
    this.#show = show;
    this.#file = openSync(path, "a", 0o600);
    this.#bytes = fstatSync(this.#file).size;
  }

  /** Reads a process's standard output and error until they end. */
  read({ stdout, stderr }: { stdout: Readable | null; stderr: Readable | null }): void {
    if (stdout) this.#readStream(stdout, false);
    if (stderr) this.#readStream(stderr, true);
  }

  /** What came last, a handful of lines; those of structured log in short form. */
  lastLines(): string {
    const lines = this.#tail.trimEnd().split("\n").slice(-TAIL_LINES_MAX);
    return lines.map((line) => summarizeLogLine(line)?.text ?? line).join("\n");
  }

  /** What still comes after this is dropped. */
  close(): void {
    this.#closed = true;
    closeSync(this.#file);
  }

  #readStream(stream: Readable, isError: boolean): void {
    let rest = "";
    stream.setEncoding("utf8");
    stream.on("data", (chunk: string) => {
      if (this.#closed) return;
      this.#write(chunk);
      const text = rest + chunk;
      const end = text.length > LINE_CHARACTERS_MAX ? text.length : text.lastIndexOf("\n") + 1;
      rest = text.slice(end);
      if (end > 0) this.#showLines(text.slice(0, end), isError);
    });
    stream.on("end", () => this.#showLines(rest, isError));
  }

  #write(chunk: string): void {
    this.#tail = (this.#tail + chunk).slice(-TAIL_CHARACTERS_MAX);
    if (this.#bytes > LOG_BYTES_MAX) this.#rotate();
    this.#bytes += writeSync(this.#file, chunk);
  }

  #rotate(): void {
    closeSync(this.#file);
    renameSync(this.#path, `${this.#path}.1`);
    this.#file = openSync(this.#path, "a", 0o600);
    this.#bytes = 0;
  }

  /** Free text is shown when it came on standard error: there it is a runtime's own complaint. */
  #showLines(text: string, isError: boolean): void {
    if (!isError && !mayHaveWarnings(text)) return;
    for (const line of text.split("\n")) {
      const summary = summarizeLogLine(line);
      const shown = summary ? summary.isWarning : isError && line.trim() !== "";
      if (shown) this.#show(`[${this.#program}] ${summary?.text ?? line}`);
    }
  }
}
