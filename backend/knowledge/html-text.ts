/**
 * The text of an HTML document as it grows: Markdown with headings, lists, code and tables, so that what parted the
 * text on the page still parts it here. Knows how text is put together, not what elements mean.
 */
import { TEXT_CHARACTERS_MAX, textTooLong } from "./document-limits.ts";

/** At the beginning of a line it would be read as Markdown of a kind that it is not. */
const MARKDOWN_MARK = /^(?:#{1,6}(?:\s|$)|`{3}|~{3}|\||={2,}\s*$|-{2,}\s*$)/;
/** Lists within lists are indented this deep; beyond it nobody can tell levels apart. */
const LIST_DEPTH_MAX = 8;

/** Puts text together. Spaces are collapsed as on the page, except in code. */
export class HtmlText {
  #parts: string[] = [];
  #length = 0;
  /** The line being written, its spaces collapsed. */
  #line = "";
  #linePrefix = "";
  /** Line ends to come before the next text: 1 for a new line, 2 for a new paragraph. */
  #gap = 0;

  /** Running text. */
  add(text: string): void {
    const collapsed = text.replaceAll(/\s+/g, " ");
    const joined =
      collapsed.startsWith(" ") && (this.#line === "" || this.#line.endsWith(" "))
        ? collapsed.slice(1)
        : collapsed;
    this.#line += joined;
    this.#count(joined.length);
  }

  /** Ends the line. */
  breakLine(): void {
    this.#endLine();
    this.#gap = Math.max(this.#gap, 1);
  }

  /** Ends the paragraph. */
  breakParagraph(): void {
    this.#endLine();
    this.#linePrefix = "";
    this.#gap = 2;
  }

  /** The next line is a heading of this level. */
  startHeading(level: number): void {
    this.breakParagraph();
    this.#linePrefix = `${"#".repeat(level)} `;
  }

  /** The next line is an item of a list; `depth` counts from 1. */
  startItem(depth: number): void {
    this.breakLine();
    this.#linePrefix = `${"  ".repeat(Math.min(depth, LIST_DEPTH_MAX) - 1)}- `;
  }

  /** Code, as it is written, as a paragraph of its own. */
  addCode(code: string): void {
    this.breakParagraph();
    const text = code.replaceAll(/^\s*\n|\s+$/g, "");
    if (text === "") return;
    const longest = Math.max(2, ...[...text.matchAll(/`{3,}/g)].map(([ticks]) => ticks.length));
    const fence = "`".repeat(longest + 1);
    this.#push(`${fence}\n${text}\n${fence}`);
    this.breakParagraph();
  }

  /** A row of a table; the first one of its table is followed by the line that Markdown needs. */
  addRow(cells: readonly string[], isFirst: boolean): void {
    const row = (texts: readonly string[]) => `| ${texts.join(" | ")} |`;
    if (isFirst) this.breakParagraph();
    this.#push(row(cells.map((cell) => cell.replaceAll(/\s+/g, " ").trim().replaceAll("|", "\\|"))));
    this.breakLine();
    if (!isFirst) return;
    this.#push(row(cells.map(() => "---")));
    this.breakLine();
  }

  /** All of it. */
  finish(): string {
    this.#endLine();
    return this.#parts.join("");
  }

  #endLine(): void {
    const text = this.#line.trim();
    this.#line = "";
    if (text === "") return;
    const isMarked = this.#linePrefix === "" && MARKDOWN_MARK.test(text);
    this.#push(`${this.#linePrefix}${isMarked ? "\\" : ""}${text}`);
    this.#linePrefix = "";
    this.#gap = 1;
  }

  #push(text: string): void {
    if (this.#parts.length > 0) this.#parts.push("\n".repeat(this.#gap));
    this.#parts.push(text);
    this.#gap = 0;
    this.#count(text.length);
  }

  #count(characters: number): void {
    this.#length += characters;
    // Text is counted when it comes and again when its line ends.
    if (this.#length > 2 * TEXT_CHARACTERS_MAX) throw textTooLong();
  }
}
