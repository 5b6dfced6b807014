/** The structure of text that has none but blank lines, and of text that comes in pages. */
import { type Block, type DocumentStructure, linesOf, type Section } from "./document-structure.ts";

/** What ends a page in a stored text: the control character that is meant for it. */
export const PAGE_END = "\f";

/** Paragraphs, parted by blank lines. */
export function readPlainText(text: string): DocumentStructure {
  return { title: undefined, sections: [{ headings: [], blocks: paragraphs(text, 0, text.length) }] };
}

/** A section for each page that {@link PAGE_END} parts, under the heading `Page 3`. */
export function readPages(text: string): DocumentStructure {
  const sections: Section[] = [];
  let start = 0;
  while (start <= text.length) {
    const found = text.indexOf(PAGE_END, start);
    const end = found === -1 ? text.length : found;
    sections.push({ headings: [`Page ${sections.length + 1}`], blocks: paragraphs(text, start, end) });
    start = end + 1;
  }
  return { title: undefined, sections };
}

function paragraphs(text: string, start: number, end: number): Block[] {
  const blocks: Block[] = [];
  let isOpen = false;
  for (const line of linesOf(text, start, end)) {
    const last = isOpen ? blocks.at(-1) : undefined;
    isOpen = !isBlank(text, line.start, line.end);
    if (isOpen && last) last.end = line.end;
    else if (isOpen) blocks.push({ ...line, keepTogether: false });
  }
  return blocks;
}

/** Without making a copy of what may be one line of many megabytes. */
function isBlank(text: string, start: number, end: number): boolean {
  for (let position = start; position < end; position++) {
    const code = text.charCodeAt(position);
    if (code > 0x20 && code !== 0xa0) return false;
  }
  return true;
}
