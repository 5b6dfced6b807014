/** Reads a response's body line by line, with a limit on the length of a line. Knows no format. */
import { modelFailure } from "./model-failure.ts";
import { providerCause } from "./provider-cause.ts";

/** Longest line, characters: more than a whole answer needs; a server that never ends a line must not fill us. */
export const LINE_CHARACTERS_MAX = 4 * 1024 * 1024;

/** Cuts pieces of bytes into lines (`\n` or `\r\n`; UTF-8). */
export class LineSplitter {
  readonly #decoder = new TextDecoder();
  #rest = "";

  /** The lines that this piece completes, in order. Throws `garbled` when a line is too long. */
  push(piece: Uint8Array): string[] {
    const lines = (this.#rest + this.#decoder.decode(piece, { stream: true })).split("\n");
    this.#rest = lines.pop() ?? "";
    if (this.#rest.length > LINE_CHARACTERS_MAX) {
      throw modelFailure("garbled", { cause: providerCause("a line of the response is too long") });
    }
    return lines.map((line) => (line.endsWith("\r") ? line.slice(0, -1) : line));
  }

  /** What stands after the last line end; empty when the body ended with one. */
  end(): string {
    return this.#rest + this.#decoder.decode();
  }
}
