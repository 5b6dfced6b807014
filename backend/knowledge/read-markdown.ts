/**
 * Reads as much of CommonMark 0.31 as cutting it into chunks needs: headings, fenced code, and the tables of GitHub
 * Flavored Markdown; and the front matter before it. Leaves the text as it is written.
 */
import {
  type Block,
  cutHeading,
  type DocumentStructure,
  linesOf,
  type OpenSection,
  type Span,
} from "./document-structure.ts";
import { readFrontMatter } from "./read-front-matter.ts";

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

/**
 * Takes time linear in the text's length, whatever it holds. Any text is Markdown.
 *
 * @param title The document's, when it was given; else its front matter says, else its first heading of level 1.
 */
export function readMarkdown(text: string, title?: string): DocumentStructure {
  const start = text.charCodeAt(0) === 0xfeff ? 1 : 0;
  const frontMatter = readFrontMatter(text, start);
  const reader = new SectionReader(title ?? frontMatter?.title);
  for (const line of linesOf(text, frontMatter?.end ?? start))
    reader.read(text.slice(line.start, line.end), line.start, line.end);
  return { sections: reader.sections, title: reader.title };
}

/** Reads a document line by line. Between lines it is in a code block, a paragraph, a table, or in none. */
class SectionReader {
  readonly sections: OpenSection[] = [{ headings: [], blocks: [] }];
  title: string | undefined;
  #isTitleRead = false;
  /** The headings in force, by level (1 is first); deeper ones fall away when a shallower one comes. */
  #path: (string | undefined)[] = [];
  #fence: Fence | undefined;
  #open: OpenBlock | undefined;

  constructor(title: string | undefined) {
    this.title = title;
  }

  read(line: string, start: number, end: number): void {
    if (this.#fence) this.#readCode(this.#fence, line, end);
    else this.#readMarkdown(line, start, end);
  }

  #readMarkdown(line: string, start: number, end: number): void {
    const marker = fenceMarker(line);
    const level = ATX_HEADING.exec(line)?.[1]?.length;
    if (marker) this.#fence = { marker, block: this.#addBlock({ start, end, keepTogether: true }) };
    else if (level) this.#addHeading(level, atxText(line), { start, end });
    else if (this.#isUnderline(line)) this.#underline(line, start, end);
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
  #underline(line: string, start: number, end: number): void {
    const text = this.#open?.firstLine ?? "";
    const place = { start: this.#open?.block.start ?? start, end };
    this.sections.at(-1)?.blocks.pop();
    this.#addHeading(line.trimStart().startsWith("=") ? 1 : 2, text, place);
  }

  #addHeading(level: number, rawText: string, { start, end }: Span): void {
    const text = cutHeading(rawText);
    const isTitle = this.#isTitle(level, text);
    if (isTitle) {
      this.title = text;
      this.#isTitleRead = true;
    }
    this.#path.length = level - 1;
    const parents = this.#path.filter((parent) => parent !== undefined);
    const isOwn = !isTitle && text !== "";
    this.#path.push(isOwn ? text : undefined);
    this.#open = undefined;
    const heading = { start, end, level, isTitle, parents };
    // What is cut off is found in the text.
    const blocks = text === rawText.trim() ? [] : [{ start, end, keepTogether: true }];
    this.sections.push({ headings: isOwn ? [...parents, text] : parents, heading, blocks });
  }

  /** A title that was given another way leaves the first heading among the headings, unless it says the same. */
  #isTitle(level: number, text: string): boolean {
    if (level !== 1 || text === "" || this.#isTitleRead) return false;
    return this.title === undefined || this.title === text;
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
