/** Renders a passage as a numbered Markdown quotation with its source. Chooses nothing. */
import type { Passage } from "../knowledge/passage-retriever.ts";

/** Longest quotation, characters: a paragraph or two. */
export const QUOTE_CHARACTERS_MAX = 600;
/** A boundary earlier than this share of the limit would cut away more than it tidies. */
const BOUNDARY_SHARE_MIN = 0.4;
/** Longest title or heading in a citation, characters. */
const LABEL_CHARACTERS_MAX = 120;

/** A block quote, and below it `[number] title › heading (document id)`. */
export function quotePassage(passage: Passage, number: number): string {
  const lines = trimQuote(passage.text).split("\n");
  const quote = lines.map((line) => `> ${line}`.trimEnd()).join("\n");
  return `${quote}\n\n[${number}] ${citation(passage)}`;
}

/**
 * The text without blank edges, cut after a whole line or sentence, else after a word, where it is longer than
 * {@link QUOTE_CHARACTERS_MAX}; an ellipsis marks the cut.
 */
export function trimQuote(text: string): string {
  const whole = text.replace(/\r\n?/g, "\n").trim();
  if (whole.length <= QUOTE_CHARACTERS_MAX) return whole;
  // Not within a surrogate pair.
  const head = whole.slice(0, QUOTE_CHARACTERS_MAX).replace(/[\uD800-\uDBFF]$/, "");
  const boundary = Math.max(head.lastIndexOf("\n"), lastSentenceEnd(head));
  if (boundary >= QUOTE_CHARACTERS_MAX * BOUNDARY_SHARE_MIN) return `${head.slice(0, boundary).trimEnd()} …`;
  const space = head.lastIndexOf(" ");
  return `${(space > 0 ? head.slice(0, space) : head).trimEnd()} …`;
}

/** Offset just after the last full stop, question or exclamation mark that whitespace follows. */
function lastSentenceEnd(text: string): number {
  let end = -1;
  for (const match of text.matchAll(/[.!?。！？]["'”’)\]]*(?=\s)/g)) end = match.index + match[0].length;
  return end;
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
