/** Cuts Markdown into passages that can be quoted as they are. */
import { cutHeading } from "./document-structure.ts";
import { splitDocument } from "./split-document.ts";

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

/**
 * The passages of a document, in its order. Takes time linear in the document's length, whatever it holds.
 *
 * @param document Markdown; any text is Markdown
 * @param fileName the title of a document that has no heading of level 1
 */
export function splitMarkdown(document: string, fileName: string): MarkdownPassage[] {
  const { title = cutHeading(fileName), chunks } = splitDocument(document, "markdown");
  return chunks.map(({ headings, start, end }) => ({
    title,
    headings,
    text: document.slice(start, end),
    start,
    end,
  }));
}
