/**
 * Leaves out what says the same again: copies of a document, boilerplate, versions that differ in a word. Compares
 * runs of words (shingles; Broder, "On the Resemblance and Containment of Documents", 1997).
 */
import { tokenizeText } from "./tokenize-text.ts";

/** Words of a shingle: short enough for passages, long enough to see their order. */
const SHINGLE_WORDS = 3;
/** Of the shingles of both, the share they have in common, from which on they say the same. */
export const RESEMBLANCE_MAX = 0.8;

/** What is compared. */
interface Text {
  readonly contentHash: string;
  readonly text: string;
}

/**
 * The first `countMax` items of which none says what an earlier one says.
 *
 * @param textOf the text that an item stands for
 */
export function distinct<Item>(
  items: readonly Item[],
  countMax: number,
  textOf: (item: Item) => Text,
): Item[] {
  const kept: Item[] = [];
  const seen: { contentHash: string; shingles: Set<string> }[] = [];
  for (const item of items) {
    if (kept.length >= countMax) break;
    const { contentHash, text } = textOf(item);
    const shingles = shinglesOf(text);
    const isKnown = seen.some(
      (other) =>
        other.contentHash === contentHash || resemblance(other.shingles, shingles) >= RESEMBLANCE_MAX,
    );
    if (isKnown) continue;
    kept.push(item);
    seen.push({ contentHash, shingles });
  }
  return kept;
}

function shinglesOf(text: string): Set<string> {
  const words = tokenizeText(text);
  const count = Math.max(1, words.length - SHINGLE_WORDS + 1);
  return new Set(
    Array.from({ length: count }, (_, start) => words.slice(start, start + SHINGLE_WORDS).join(" ")),
  );
}

/** Jaccard's index. */
function resemblance(a: ReadonlySet<string>, b: ReadonlySet<string>): number {
  let common = 0;
  for (const shingle of a) if (b.has(shingle)) common++;
  return common / (a.size + b.size - common);
}
