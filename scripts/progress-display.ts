/** Says how far something has come: a bar that is drawn again at a terminal, a line now and then elsewhere. */

/** Where it is said. */
export interface ProgressStream {
  readonly isTTY?: boolean;
  write(text: string): unknown;
}

const BAR_CHARACTERS = 30;
const LABEL_CHARACTERS_MAX = 40;
/** Elsewhere than at a terminal, at most one line in this time. */
const LINE_INTERVAL_MS = 5_000;

/** One display for one piece of work. */
export class ProgressDisplay {
  readonly #stream: ProgressStream;
  readonly #now: () => number;
  #lastLineAtMs: number | undefined;
  #isDrawn = false;

  /** @param now milliseconds that only grow */
  constructor(stream: ProgressStream, now: () => number) {
    this.#stream = stream;
    this.#now = now;
  }

  /** So much of it is done. */
  show(done: number, total: number, label: string): void {
    const text = label.replaceAll(/\p{Cc}/gu, " ").slice(0, LABEL_CHARACTERS_MAX);
    if (this.#stream.isTTY) {
      const filled = total === 0 ? BAR_CHARACTERS : Math.floor((done / total) * BAR_CHARACTERS);
      const bar = "#".repeat(filled).padEnd(BAR_CHARACTERS, ".");
      this.#stream.write(`\r[${bar}] ${done}/${total} ${text}\x1b[K`);
      this.#isDrawn = true;
    } else if (this.#lastLineAtMs === undefined || this.#now() - this.#lastLineAtMs >= LINE_INTERVAL_MS) {
      this.#lastLineAtMs = this.#now();
      this.#stream.write(`${done}/${total} ${text}\n`);
    }
  }

  /** A line of its own. */
  note(line: string): void {
    this.clear();
    this.#stream.write(`${line}\n`);
  }

  /** Takes the bar away. */
  clear(): void {
    if (this.#isDrawn) this.#stream.write("\r\x1b[K");
    this.#isDrawn = false;
  }
}
