/** Which passages an answer refers to, as data for whoever shows it. */
import type { JsonObject } from "@bufbuild/protobuf";
import type { Passage } from "../knowledge/passage-retriever.ts";

/** Longest reference that is read: more passages are never offered. */
const REFERENCE = /\[(\d{1,2})\]/g;

/** The passages whose numbers stand in the text, in the order of their numbers; a passage's number is its place. */
export function citationsOf(text: string, passages: readonly Passage[]): JsonObject[] {
  const numbers = new Set([...text.matchAll(REFERENCE)].map(([, number]) => Number(number)));
  return passages.flatMap((passage, index) => {
    const number = index + 1;
    if (!numbers.has(number)) return [];
    const { documentId, title, headings, start, end, score } = passage;
    return [
      {
        number,
        documentId,
        title,
        headings: [...headings],
        start,
        end,
        score: Math.round(score * 1_000) / 1_000,
      },
    ];
  });
}
