/**
 * Makes text of the headings that no text follows, which would be in no chunk: neighbours become one section. A
 * heading over text is not repeated; it goes with the chunks under it.
 */
import { type Block, type Section, type Span, WORD } from "./document-structure.ts";

interface OpenSection extends Section {
  readonly blocks: Block[];
}

/**
 * The sections, in order, with bare headings as blocks under the headings that they have in common. Linear in the
 * text's length.
 */
export function joinBareHeadings(text: string, sections: readonly Section[]): Section[] {
  const bare = findBare(text, sections);
  const joined: Section[] = [];
  let open: OpenSection | undefined;
  for (const section of sections) {
    const { heading } = section;
    if (!heading || !bare.has(section)) {
      open = undefined;
      joined.push(section);
      continue;
    }
    if (!open?.headings.every((parent, at) => parent === heading.parents[at])) {
      open = { headings: heading.parents, blocks: [] };
      joined.push(open);
    }
    open.blocks.push({ start: heading.start, end: heading.end, keepTogether: true });
    // Without words, yet between them in the text. One by one: there may be more than arguments of a call.
    for (const block of section.blocks) open.blocks.push(block);
  }
  return joined;
}

/** Sections whose heading stands over no text; the title stands over all of it. */
function findBare(text: string, sections: readonly Section[]): Set<Section> {
  const withText = new Set(sections.filter(({ blocks }) => blocks.some((block) => hasWords(text, block))));
  const bare = new Set<Section>();
  // From the end: every heading of a smaller level, coming next, stands over text.
  let overText = 0;
  for (const section of sections.toReversed()) {
    const { level = 0, isTitle = false } = section.heading ?? {};
    if (withText.has(section)) {
      overText = level;
    } else {
      const isOverText = isTitle ? withText.size > 0 : level < overText;
      if (!isOverText) bare.add(section);
      overText = Math.min(overText, level);
    }
  }
  return bare;
}

function hasWords(text: string, { start, end }: Span): boolean {
  return WORD.test(text.slice(start, end));
}
