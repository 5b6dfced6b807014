/**
 * Stands between Ollama's stream and its SDK, which skips lines that it cannot parse (a shortened answer would
 * pass as a whole one), writes them to the console, and gives errors without a status.
 */
import { drainBody } from "./drain-body.ts";
import { modelFailure } from "./model-failure.ts";
import { ollamaStreamFailure } from "./ollama-failure.ts";
import { providerCause } from "./provider-cause.ts";
import { LineSplitter } from "./read-lines.ts";

/**
 * The same lines, every one of them an object of JSON, up to and including the one with `done: true`; blank
 * lines are left out. Anything else fails the stream: `garbled`, or what an `{"error": …}` line says. A body
 * that ends before that last line is whole is `truncated`.
 */
export function guardNdjson(body: ReadableStream<Uint8Array>): ReadableStream<Uint8Array> {
  const reader = body.getReader();
  const splitter = new LineSplitter();
  const encoder = new TextEncoder();
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        // A pull that enqueues nothing is not repeated: read until there is a line, or the end.
        for (;;) {
          const { done, value } = await reader.read();
          const { lines, last } = check(done ? lastLine(splitter) : splitter.push(value));
          if (lines.length > 0) controller.enqueue(encoder.encode(`${lines.join("\n")}\n`));
          if (last) {
            drainBody(reader);
            return controller.close();
          }
          if (done) throw modelFailure("truncated");
          if (lines.length > 0) return;
        }
      },
      cancel: (reason) => reader.cancel(reason),
    },
    { highWaterMark: 0 },
  );
}

/** What stands after the last line end, if it is a whole line: some answers end without one. */
function lastLine(splitter: LineSplitter): string[] {
  const line = splitter.end().trim();
  return line.endsWith("}") ? [line] : [];
}

/** The lines that carry something, and whether the last one of the answer is among them. */
function check(lines: readonly string[]): { lines: string[]; last: boolean } {
  const checked: string[] = [];
  for (const line of lines) {
    if (line.trim() === "") continue;
    const chunk = parse(line);
    if ("error" in chunk) throw ollamaStreamFailure(chunk.error);
    checked.push(line);
    if ("done" in chunk && chunk.done === true) return { lines: checked, last: true };
  }
  return { lines: checked, last: false };
}

function parse(line: string): object {
  try {
    const chunk: unknown = JSON.parse(line);
    if (typeof chunk === "object" && chunk !== null && !Array.isArray(chunk)) return chunk;
  } catch (cause) {
    throw modelFailure("garbled", { cause: providerCause(String(cause)) });
  }
  throw modelFailure("garbled");
}
