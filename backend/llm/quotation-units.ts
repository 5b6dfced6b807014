/**
 * Parts a passage into what its quotation may begin and end with: sentences, list items, table rows, lines of code.
 * Knows as much Markdown as that needs; what it takes for plain text is still quoted as it stands.
 */
import { beforeSurrogate, linesOf, type Span } from "../knowledge/document-structure.ts";

/** A longer sentence, row or line is parted between words. */
const UNIT_CHARACTERS_MAX = 400;
/** Of what is parted, each piece. */
const PIECE_CHARACTERS_MAX = 200;
/** A longer table header is not repeated: one that is, a unit and the marks fit a quotation. */
const LEAD_CHARACTERS_MAX = 180;

/** What is quoted whole or not at all. Its offsets are those of the text. */
export interface QuotationUnit extends Readonly<Span> {
  /** `row` of a table, line of `code`, or `text`: a sentence. */
  readonly kind: "row" | "code" | "text";
  /** What it begins: a `line`, a `sentence` within one, or neither, being a later `piece` of something long. */
  readonly begins: "line" | "sentence" | "piece";
  /** What must stand above it: the header of its table with the line under it, or the fence that opens its code. */
  readonly lead?: Readonly<Span> | undefined;
}

const ROW = /^\s*\|/;
const TABLE_RULE = /^\s*\|[\s|:]*-[\s|:-]*$/;
/** Backticks after backticks are code within a line. */
const FENCE = /^\s*(?:`{3,}[^`]*$|~{3})/;
const LIST_ITEM = /^\s*(?:[-*+]|\d{1,9}[.)])\s+/;
/** Not before a small letter, nor after a common abbreviation; scripts that do not part words need no space. */
const SENTENCE_END =
  /(?<!\b(?:e\.g|i\.e|cf|vs|Dr|Mrs?|Ms))[.!?]["'”’)\]]*\s+(?=[^\s\p{Ll}])|[。！？]["'”’）」』)\]]*\s*/gu;

/**
 * The units of a text in order; between them is nothing but whitespace, and none is blank.
 *
 * @param text its lines are parted by `\n`
 */
export function quotationUnits(text: string): QuotationUnit[] {
  const reader = new UnitReader(text);
  for (const line of linesOf(text)) reader.read(line);
  return reader.blocks
    .flatMap((block) => (block.kind === "text" ? sentencesOf(text, block) : [block]))
    .flatMap((unit) => piecesOf(text, unit));
}

/** Reads line by line: rows, lines of code, and paragraphs and list items with all of their lines. */
class UnitReader {
  readonly blocks: QuotationUnit[] = [];
  readonly #text: string;
  #fence: Span | undefined;
  #tableHead: Span | undefined;
  /** Whether the last block is directly above. */
  #isOpen = false;

  constructor(text: string) {
    this.#text = text;
  }

  read(span: Span): void {
    const line = this.#text.slice(span.start, span.end);
    const isRow = this.#fence === undefined && ROW.test(line);
    if (!isRow) this.#tableHead = undefined;
    if (this.#fence || FENCE.test(line)) this.#readCode(line, span);
    else if (isRow) this.#readRow(line, span);
    else if (line.trim() !== "") this.#readText(line, span);
    this.#isOpen = line.trim() !== "";
  }

  #readCode(line: string, span: Span): void {
    if (line.trim() === "") return;
    this.blocks.push({ ...span, kind: "code", begins: "line", lead: this.#fence });
    if (FENCE.test(line)) this.#fence = this.#fence ? undefined : boundedLead(span);
  }

  #readRow(line: string, span: Span): void {
    const above = this.#isOpen ? this.blocks.at(-1) : undefined;
    if (above?.kind === "row" && !this.#tableHead && TABLE_RULE.test(line)) {
      const head = { start: above.start, end: span.end };
      this.blocks.splice(-1, 1, { ...above, ...head });
      this.#tableHead = boundedLead(head);
    } else {
      this.blocks.push({ ...span, kind: "row", begins: "line", lead: this.#tableHead });
    }
  }

  #readText(line: string, span: Span): void {
    const above = this.#isOpen ? this.blocks.at(-1) : undefined;
    if (above?.kind === "text" && !LIST_ITEM.test(line))
      this.blocks.splice(-1, 1, { ...above, end: span.end });
    else this.blocks.push({ ...span, kind: "text", begins: "line" });
  }
}

function boundedLead(span: Span): Span | undefined {
  return span.end - span.start <= LEAD_CHARACTERS_MAX ? { ...span } : undefined;
}

function sentencesOf(text: string, block: QuotationUnit): QuotationUnit[] {
  const words = text.slice(block.start, block.end);
  // The full stop of `1. ` ends no sentence.
  const markerLength = LIST_ITEM.exec(words)?.[0].length ?? 0;
  const ends = [...words.matchAll(SENTENCE_END)]
    .map((match) => block.start + match.index + match[0].length)
    .filter((end) => end > block.start + markerLength && end < block.end);
  return partAt(ends, block, "sentence");
}

/** Parts what is too long after a line, else after a word, else anywhere, but not within a character. */
function piecesOf(text: string, unit: QuotationUnit): QuotationUnit[] {
  if (unit.end - unit.start <= UNIT_CHARACTERS_MAX) return [unit];
  const ends: number[] = [];
  let start = unit.start;
  while (unit.end - start > PIECE_CHARACTERS_MAX) {
    const head = text.slice(start, start + PIECE_CHARACTERS_MAX);
    const boundary = Math.max(head.lastIndexOf("\n"), head.lastIndexOf(" ")) + 1;
    start += boundary > PIECE_CHARACTERS_MAX / 2 ? boundary : beforeSurrogate(head, head.length);
    ends.push(start);
  }
  return partAt(ends, unit, "piece");
}

/** The unit parted at offsets that rise; the parts after the first begin what is said. */
function partAt(ends: readonly number[], unit: QuotationUnit, begins: "sentence" | "piece"): QuotationUnit[] {
  const starts = [unit.start, ...ends];
  return starts.map((start, index) => ({
    ...unit,
    ...{ start, end: starts[index + 1] ?? unit.end },
    begins: index === 0 ? unit.begins : begins,
  }));
}
