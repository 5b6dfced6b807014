/**
 * Cuts a document's text into chunks that can be found and quoted: each with its exact place in the text, the title
 * of the document and the headings above it.
 */
import { cutHeading, type DocumentStructure, type TextFormat } from "./document-structure.ts";
import { joinBareHeadings } from "./join-bare-headings.ts";
import { packChunks } from "./pack-chunks.ts";
import { readMarkdown } from "./read-markdown.ts";
import { readPages, readPlainText } from "./read-plain-text.ts";

/** A piece of a document. `text.slice(start, end)` of the document's text is what it says. */
export interface DocumentChunk {
  /** The headings above it, outermost first, without the document's title. */
  readonly headings: readonly string[];
  /** UTF-16 code units; never inside a surrogate pair. */
  readonly start: number;
  readonly end: number;
}

/** A document, cut. */
export interface SplitDocument {
  /** As given, else as the text itself says; undefined when neither does. */
  readonly title: string | undefined;
  /** In the order of the text, without overlap; each has a letter or a digit. */
  readonly chunks: readonly DocumentChunk[];
}

const READERS: Record<TextFormat, (text: string, title?: string) => DocumentStructure> = {
  markdown: readMarkdown,
  plain: readPlainText,
  pages: readPages,
};

/** Takes time linear in the text's length, whatever it holds. */
export function splitDocument(text: string, format: TextFormat, title?: string): SplitDocument {
  const given = title === undefined ? undefined : cutHeading(title);
  const structure = READERS[format](text, given);
  return {
    title: given ?? structure.title,
    chunks: joinBareHeadings(text, structure.sections).flatMap(({ headings, blocks }) =>
      packChunks(text, blocks).map(({ start, end }) => ({ headings, start, end })),
    ),
  };
}
