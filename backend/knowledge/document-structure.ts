/**
 * What a document's text consists of, whatever it was before: sections under headings, each of blocks. Only places
 * are kept, so that a chunk can always be found again in the text.
 */

/** How a stored text is read. HTML becomes Markdown, PDF becomes pages; both are read from that ever after. */
export type TextFormat = "markdown" | "plain" | "pages";

/** A range of a text, UTF-16 code units: [start, end). */
export interface Span {
  readonly start: number;
  end: number;
}

/** A paragraph, or lines that say less when they are parted: a fenced code block, a table. */
export interface Block extends Span {
  readonly keepTogether: boolean;
}

/** A heading, where it stands in the text: with its marks, as one or two lines. */
export interface Heading extends Span {
  /** 1 to 6; 1 is the outermost. */
  readonly level: number;
  /** Whether it says what the document's title is. */
  readonly isTitle: boolean;
  /** The headings above it, outermost first, without the document's title. */
  readonly parents: readonly string[];
}

/** What stands under one heading and above the next. */
export interface Section {
  /** The headings above it, outermost first, without the document's title. */
  readonly headings: readonly string[];
  /** The last of them, or the title; undefined where the text has none at this place. */
  readonly heading?: Heading | undefined;
  readonly blocks: readonly Block[];
}

/** A section that is being read. */
export interface OpenSection extends Section {
  readonly blocks: Block[];
}

/** A text's structure. */
export interface DocumentStructure {
  /** As given, else as the text itself says; undefined when neither does. */
  readonly title: string | undefined;
  readonly sections: readonly Section[];
}

/** What a text without is not worth finding: a letter or a digit. */
export const WORD = /[\p{L}\p{N}]/u;

/** Longest title or heading; what is longer is cut, since every chunk under a heading repeats it. */
export const HEADING_CHARACTERS_MAX = 200;

/** A title or heading without surrounding space, at most {@link HEADING_CHARACTERS_MAX} long. */
export function cutHeading(text: string): string {
  const trimmed = text.trim();
  if (trimmed.length <= HEADING_CHARACTERS_MAX) return trimmed;
  return `${trimmed.slice(0, beforeSurrogate(trimmed, HEADING_CHARACTERS_MAX - 1))}…`;
}

/** The position, or the one before it if a surrogate pair would be torn apart. */
export function beforeSurrogate(text: string, position: number): number {
  const code = text.charCodeAt(position - 1);
  return code >= 0xd800 && code <= 0xdbff ? position - 1 : position;
}

/** The lines from `start` to `end`, without their line ends. */
export function* linesOf(text: string, start = 0, end = text.length): Generator<Span> {
  while (start < end) {
    const newline = text.indexOf("\n", start);
    const lineEnd = newline === -1 || newline > end ? end : newline;
    yield { start, end: lineEnd };
    start = lineEnd + 1;
  }
}
