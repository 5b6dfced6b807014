/**
 * Makes text of the headings that no text follows, which would be in no chunk: neighbours become one section. A
 * heading over text is not repeated; it goes with the chunks under it.
 */
import { type OpenSection, type Section, type Span, WORD } from "./document-structure.ts";

/** Above all headings. */
const NO_HEADING = { level: 0, isTitle: false };

/**
 * The sections, in order, with bare headings as blocks under the headings that they have in common. Linear in the
 * text's length.
 */
export function joinBareHeadings(text: string, sections: readonly Section[]): Section[] {
  const bare = findBare(text, sections);
  const joined: Section[] = [];
  let open: OpenSection | undefined;
  for (const [at, section] of sections.entries()) {
    const { heading } = section;
    if (!heading || !bare[at]) {
      open = undefined;
      joined.push(section);
      continue;
    }
    if (!open?.headings.every((parent, depth) => parent === heading.parents[depth])) {
      open = { headings: heading.parents, blocks: [] };
      joined.push(open);
    }
    open.blocks.push({ start: heading.start, end: heading.end, keepTogether: true });
    // Without words, yet between them in the text. One by one: there may be more than arguments of a call.
    for (const block of section.blocks) open.blocks.push(block);
  }
  return joined;
}

/** For each section, whether its heading stands over no text; the title stands over all of it. */
function findBare(text: string, sections: readonly Section[]): readonly boolean[] {
  const withText = sections.map(({ blocks }) => blocks.some((block) => hasWords(text, block)));
  const isEmpty = !withText.includes(true);
  // From the end: every heading of a smaller level, coming next, stands over text.
  let overText = 0;
  const bare = sections.map(() => false);
  for (let at = sections.length - 1; at >= 0; at--) {
    const { level, isTitle } = sections[at]?.heading ?? NO_HEADING;
    if (withText[at]) {
      overText = level;
    } else {
      bare[at] = isTitle ? isEmpty : level >= overText;
      overText = Math.min(overText, level);
    }
  }
  return bare;
}

function hasWords(text: string, { start, end }: Span): boolean {
  return WORD.test(text.slice(start, end));
}
