/** Renders a passage as a numbered Markdown quotation with its source. Chooses nothing. */
import type { Passage } from "../knowledge/passage-retriever.ts";

/** Longest title or heading in a citation, characters. */
const LABEL_CHARACTERS_MAX = 120;

/**
 * A block quote, and below it `[number] title › heading (document id)`.
 *
 * @param excerpt what is quoted of the passage, with lines parted by `\n`
 */
export function quotePassage(passage: Passage, excerpt: string, number: number): string {
  const lines = excerpt.split("\n");
  const quote = lines.map((line) => `> ${line}`.trimEnd()).join("\n");
  return `${quote}\n\n[${number}] ${citation(passage)}`;
}

function citation({ title, headings, documentId }: Passage): string {
  // The document's title is often its first heading, too.
  const path = [title, ...headings].map(label).filter((text, at, all) => text !== "" && text !== all[at - 1]);
  return path.length === 0 ? label(documentId) : `${path.join(" › ")} (${label(documentId)})`;
}

/** On one line, of bounded length. */
function label(text: string): string {
  const line = text.replace(/\s+/g, " ").trim();
  return line.length <= LABEL_CHARACTERS_MAX ? line : `${line.slice(0, LABEL_CHARACTERS_MAX - 1)}…`;
}
