/**
 * Reads as much of CommonMark 0.31 as cutting it into chunks needs: headings, fenced code, and the tables of GitHub
 * Flavored Markdown. Leaves the text as it is written.
 */
import {
  type Block,
  cutHeading,
  type DocumentStructure,
  linesOf,
  type Section,
} from "./document-structure.ts";

interface OpenSection extends Section {
  readonly blocks: Block[];
}

/** The marker that opened a code block; only one at least as long closes it. */
interface Fence {
  readonly marker: string;
  readonly block: Block;
}

/** Lines that belong together, so far. */
interface OpenBlock {
  readonly block: Block;
  readonly firstLine: string;
  linesCount: number;
}

const ATX_HEADING = /^ {0,3}(#{1,6})(?:[ \t]|$)/;
const SETEXT_UNDERLINE = /^ {0,3}(?:={2,}|-{2,})[ \t]*$/;
/** A line that a setext underline can turn into a heading: not a list, a quotation or a table. */
const SETEXT_TEXT = /^ {0,3}[^\s>*+|-]/;
/** Indentation is not limited to three: code in a list item is indented further. */
const FENCE = /^[ \t]*(`{3,}|~{3,})/;
const TABLE_ROW = /^ {0,3}\|/;

/** Takes time linear in the text's length, whatever it holds. Any text is Markdown. */
export function readMarkdown(text: string): DocumentStructure {
  const reader = new SectionReader();
  const start = text.charCodeAt(0) === 0xfeff ? 1 : 0;
  for (const line of linesOf(text, start))
    reader.read(text.slice(line.start, line.end), line.start, line.end);
  return { sections: reader.sections, title: reader.title };
}

/** Reads a document line by line. Between lines it is in a code block, a paragraph, a table, or in none. */
class SectionReader {
  readonly sections: OpenSection[] = [{ headings: [], blocks: [] }];
  title: string | undefined;
  /** The headings in force, by level (1 is first); deeper ones fall away when a shallower one comes. */
  #path: (string | undefined)[] = [];
  #fence: Fence | undefined;
  #open: OpenBlock | undefined;

  read(line: string, start: number, end: number): void {
    if (this.#fence) this.#readCode(this.#fence, line, end);
    else this.#readMarkdown(line, start, end);
  }

  #readMarkdown(line: string, start: number, end: number): void {
    const marker = fenceMarker(line);
    const level = ATX_HEADING.exec(line)?.[1]?.length;
    if (marker) this.#fence = { marker, block: this.#addBlock({ start, end, keepTogether: true }) };
    else if (level) this.#addHeading(level, atxText(line));
    else if (this.#isUnderline(line)) this.#underline(line);
    else if (line.trim() === "") this.#open = undefined;
    else this.#readText(line, start, end);
  }

  #readCode(fence: Fence, line: string, end: number): void {
    fence.block.end = end;
    const marker = fenceMarker(line);
    if (marker?.startsWith(fence.marker) && line.trim() === marker) this.#fence = undefined;
  }

  #readText(line: string, start: number, end: number): void {
    const isRow = TABLE_ROW.test(line);
    if (this.#open?.block.keepTogether === isRow) {
      this.#open.block.end = end;
      this.#open.linesCount++;
    } else {
      const block = this.#addBlock({ start, end, keepTogether: isRow });
      this.#open = { block, firstLine: line, linesCount: 1 };
    }
  }

  #addBlock(block: Block): Block {
    this.#open = undefined;
    this.sections.at(-1)?.blocks.push(block);
    return block;
  }

  #isUnderline(line: string): boolean {
    const open = this.#open;
    return open?.linesCount === 1 && SETEXT_TEXT.test(open.firstLine) && SETEXT_UNDERLINE.test(line);
  }

  /** The paragraph of one line just read turns out to be a heading. */
  #underline(line: string): void {
    const text = this.#open?.firstLine ?? "";
    this.sections.at(-1)?.blocks.pop();
    this.#addHeading(line.trimStart().startsWith("=") ? 1 : 2, text);
  }

  #addHeading(level: number, rawText: string): void {
    const text = cutHeading(rawText);
    const isTitle = level === 1 && this.title === undefined && text !== "";
    if (isTitle) this.title = text;
    this.#path.length = level - 1;
    this.#path.push(isTitle || text === "" ? undefined : text);
    this.#open = undefined;
    this.sections.push({ headings: this.#path.filter((heading) => heading !== undefined), blocks: [] });
  }
}

/** The characters that open or may close a code block. Backticks after backticks are inline code (section 4.5). */
function fenceMarker(line: string): string | undefined {
  const match = FENCE.exec(line);
  if (!match?.[1]) return undefined;
  const isInlineCode = match[1].startsWith("`") && line.includes("`", match[0].length);
  return isInlineCode ? undefined : match[1];
}

/** A heading without its opening and closing marks: `## Limits ##` is `Limits`. */
function atxText(line: string): string {
  const text = line.trim().replace(/^#+/, "").trim();
  let end = text.length;
  while (text[end - 1] === "#") end--;
  const closes = end === 0 || text[end - 1] === " " || text[end - 1] === "\t";
  return closes ? text.slice(0, end).trimEnd() : text;
}
