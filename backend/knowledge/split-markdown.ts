/**
 * Cuts Markdown into passages that can be quoted: the text under one heading, in pieces of bounded length, each
 * with its exact place in the document. Knows as much of CommonMark 0.31 as that needs (headings and fenced code)
 * and leaves the text as it is written.
 */

/** Longest passage, in UTF-16 code units: about 300 to 400 tokens. A fenced code block may be longer. */
export const PASSAGE_CHARACTERS_MAX = 1500;
/** Longest title or heading; what is longer is cut, since every passage under a heading repeats it. */
export const HEADING_CHARACTERS_MAX = 200;

/** A passage of a document. `document.slice(start, end) === text`. */
export interface MarkdownPassage {
  /** The first heading of level 1, or the file's name; the same for every passage of a document. */
  readonly title: string;
  /** The headings above the passage, outermost first, without the one that is the title. */
  readonly headings: readonly string[];
  /** Never empty: it has a letter or a digit. */
  readonly text: string;
  readonly start: number;
  readonly end: number;
}

/** A range of the document, [start, end). */
interface Span {
  readonly start: number;
  end: number;
}

/** A paragraph, or a fenced code block, which stays in one piece. */
interface Block extends Span {
  readonly indivisible: boolean;
}

/** What stands between two headings. */
interface Section {
  readonly headings: readonly string[];
  readonly blocks: Block[];
}

/** The marker that opened a code block; only one at least as long closes it. */
interface Fence {
  readonly marker: string;
  readonly block: Block;
}

const ATX_HEADING = /^ {0,3}(#{1,6})(?:[ \t]|$)/;
const SETEXT_UNDERLINE = /^ {0,3}(?:={2,}|-{2,})[ \t]*$/;
/** A line that a setext underline can turn into a heading: not a list, a quotation or a table. */
const SETEXT_TEXT = /^ {0,3}[^\s>*+|-]/;
/** Indentation is not limited to three: code in a list item is indented further. */
const FENCE = /^[ \t]*(`{3,}|~{3,})/;
const WORD = /[\p{L}\p{N}]/u;

/**
 * The passages of a document, in its order. Takes time linear in the document's length, whatever it holds.
 *
 * @param document Markdown; any text is Markdown
 * @param fileName the title of a document that has no heading of level 1
 */
export function splitMarkdown(document: string, fileName: string): MarkdownPassage[] {
  const { sections, title } = parseSections(document);
  return sections.flatMap(({ headings, blocks }) =>
    packBlocks(document, blocks).map(({ start, end }) => ({
      title: title ?? cutHeading(fileName),
      headings,
      text: document.slice(start, end),
      start,
      end,
    })),
  );
}

function parseSections(document: string): { sections: Section[]; title: string | undefined } {
  const reader = new SectionReader();
  for (const { start, end } of lines(document)) reader.read(document.slice(start, end), start, end);
  return { sections: reader.sections, title: reader.title };
}

/** The lines of a document without their line ends; a byte order mark is no part of the first. */
function* lines(document: string): Generator<Span> {
  let start = document.charCodeAt(0) === 0xfeff ? 1 : 0;
  while (start < document.length) {
    const newline = document.indexOf("\n", start);
    const end = newline === -1 ? document.length : newline;
    yield { start, end };
    start = end + 1;
  }
}

/** Reads a document line by line. Between lines it is in a code block, in a paragraph, or in neither. */
class SectionReader {
  readonly sections: Section[] = [{ headings: [], blocks: [] }];
  title: string | undefined;
  /** The headings in force, by level (1 is first); deeper ones fall away when a shallower one comes. */
  #path: (string | undefined)[] = [];
  #fence: Fence | undefined;
  #paragraph: { block: Block; firstLine: string; linesCount: number } | undefined;

  read(line: string, start: number, end: number): void {
    if (this.#fence) this.#readCode(this.#fence, line, end);
    else this.#readMarkdown(line, start, end);
  }

  #readMarkdown(line: string, start: number, end: number): void {
    const marker = fenceMarker(line);
    const level = ATX_HEADING.exec(line)?.[1]?.length;
    if (marker) this.#fence = { marker, block: this.#addBlock({ start, end, indivisible: true }) };
    else if (level) this.#addHeading(level, atxText(line));
    else if (this.#isUnderline(line)) this.#underline(line);
    else if (line.trim() === "") this.#paragraph = undefined;
    else this.#readText(line, start, end);
  }

  #readCode(fence: Fence, line: string, end: number): void {
    fence.block.end = end;
    const marker = fenceMarker(line);
    if (marker?.startsWith(fence.marker) && line.trim() === marker) this.#fence = undefined;
  }

  #readText(line: string, start: number, end: number): void {
    if (this.#paragraph) {
      this.#paragraph.block.end = end;
      this.#paragraph.linesCount++;
    } else {
      const block = this.#addBlock({ start, end, indivisible: false });
      this.#paragraph = { block, firstLine: line, linesCount: 1 };
    }
  }

  #addBlock(block: Block): Block {
    this.#paragraph = undefined;
    this.sections.at(-1)?.blocks.push(block);
    return block;
  }

  #isUnderline(line: string): boolean {
    const paragraph = this.#paragraph;
    return (
      paragraph?.linesCount === 1 && SETEXT_TEXT.test(paragraph.firstLine) && SETEXT_UNDERLINE.test(line)
    );
  }

  /** The paragraph of one line just read turns out to be a heading. */
  #underline(line: string): void {
    const text = this.#paragraph?.firstLine ?? "";
    this.sections.at(-1)?.blocks.pop();
    this.#addHeading(line.trimStart().startsWith("=") ? 1 : 2, text);
  }

  #addHeading(level: number, rawText: string): void {
    const text = cutHeading(rawText);
    const isTitle = level === 1 && this.title === undefined && text !== "";
    if (isTitle) this.title = text;
    this.#path.length = level - 1;
    this.#path.push(isTitle || text === "" ? undefined : text);
    this.#paragraph = undefined;
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

function cutHeading(text: string): string {
  const trimmed = text.trim();
  if (trimmed.length <= HEADING_CHARACTERS_MAX) return trimmed;
  return `${trimmed.slice(0, beforeSurrogate(trimmed, HEADING_CHARACTERS_MAX - 1))}…`;
}

/** Joins neighbouring blocks into passages as long as the limit allows; cuts paragraphs that exceed it. */
function packBlocks(document: string, blocks: readonly Block[]): Span[] {
  const passages: Span[] = [];
  for (const block of blocks.flatMap((block) =>
    block.indivisible ? [block] : cutParagraph(document, block),
  )) {
    const last = passages.at(-1);
    if (last && block.end - last.start <= PASSAGE_CHARACTERS_MAX) last.end = block.end;
    else passages.push({ start: block.start, end: block.end });
  }
  return passages
    .map((passage) => trimEnd(document, passage))
    .filter(({ start, end }) => WORD.test(document.slice(start, end)));
}

/** Cuts a long paragraph at the end of a line, else of a sentence, else of a word, else anywhere. */
function cutParagraph(document: string, paragraph: Span): Span[] {
  const pieces: Span[] = [];
  let start = paragraph.start;
  while (paragraph.end - start > PASSAGE_CHARACTERS_MAX) {
    const window = document.slice(start, start + PASSAGE_CHARACTERS_MAX);
    const end = start + cutPosition(window);
    pieces.push({ start, end });
    start = end;
    while (document[start] === " ") start++;
  }
  pieces.push({ start, end: paragraph.end });
  return pieces;
}

/** Where to cut a full window. Not in its first half, lest a passage be only a few words. */
function cutPosition(window: string): number {
  for (const boundary of ["\n", ". ", " "]) {
    const position = window.lastIndexOf(boundary) + boundary.length;
    if (position > window.length / 2) return position;
  }
  return beforeSurrogate(window, window.length);
}

/** The position, or the one before it if a surrogate pair would be torn apart. */
function beforeSurrogate(text: string, position: number): number {
  const code = text.charCodeAt(position - 1);
  return code >= 0xd800 && code <= 0xdbff ? position - 1 : position;
}

function trimEnd(document: string, { start, end }: Span): Span {
  return { start, end: start + document.slice(start, end).trimEnd().length };
}
