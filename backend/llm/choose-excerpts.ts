/**
 * Chooses what of each passage is quoted: the part that has most of the question's terms, the rarer the more, and as
 * much around it as fits. Reads words only; whether the part answers the question it does not know.
 */
import { inverseDocumentFrequency } from "../knowledge/inverse-document-frequency.ts";
import { chunkTerms, queryTerms } from "../knowledge/lexical-terms.ts";
import { stemOf, stemsOf } from "../knowledge/word-stem.ts";
import { type QuotationUnit, quotationUnits } from "./quotation-units.ts";
import { renderExcerpt, type UnitRange } from "./render-excerpt.ts";

/** Longest excerpt, characters: a paragraph or two, 600, and an ellipsis. */
export const EXCERPT_CHARACTERS_MAX = 602;

/** A passage as it is chosen from. */
interface Source {
  readonly text: string;
  readonly units: readonly QuotationUnit[];
  /** Of each unit, which terms it has, by their places in the question. */
  readonly terms: readonly (readonly number[])[];
}

/**
 * An excerpt of each of the first texts, in their order: the whole text where it fits
 * {@link EXCERPT_CHARACTERS_MAX}, else units of it that follow each other, with an ellipsis where something is left
 * out. The same for the same input.
 *
 * @param texts all that was found, which says how rare a term is
 * @param excerptsMax how many excerpts are wanted; default all
 */
export function chooseExcerpts(
  question: string,
  texts: readonly string[],
  excerptsMax = texts.length,
): string[] {
  const stems = queryTerms(question).map(questionStem);
  const sources = texts.map((text) => readSource(text, stems));
  const weights = weightsOf(sources, stems.length);
  return sources.slice(0, excerptsMax).map((source) => {
    if (source.text.length <= EXCERPT_CHARACTERS_MAX) return source.text;
    return renderExcerpt(source, grow(source, bestRange(source, weights), weights));
  });
}

/** Names with digits are compared whole: ERR-4711 is no form of ERR-4712. */
function questionStem(term: string): string {
  return /\p{N}/u.test(term) ? term : stemOf(term);
}

function readSource(passageText: string, stems: readonly string[]): Source {
  const text = passageText.replace(/\r\n?/g, "\n").trim();
  const units = quotationUnits(text);
  const terms = units.map(({ start, end }) => {
    const words = chunkTerms({ title: "", headings: [], text: text.slice(start, end) });
    const own = stemsOf(words.split(" "));
    return stems.flatMap((stem, index) => (own.has(stem) ? [index] : []));
  });
  return { text, units, terms };
}

/**
 * The inverse document frequency of each term, a unit of any passage being a document; in whole thousandths, so that
 * sums are the same in any order.
 */
function weightsOf(sources: readonly Source[], termsCount: number): number[] {
  const units = sources.flatMap(({ terms }) => terms);
  return Array.from({ length: termsCount }, (_, term) => {
    const having = units.filter((terms) => terms.includes(term)).length;
    return Math.round(1_000 * inverseDocumentFrequency(having, units.length));
  });
}

/** Of the ranges that fit, the one whose terms weigh most; of equals the shortest, of those the first. */
function bestRange(source: Source, weights: readonly number[]): UnitRange {
  const { units, terms } = source;
  let best: UnitRange = { first: 0, last: 0 };
  let most = { weight: 0, length: 0 };
  for (const [first, unit] of units.entries()) {
    if (terms[first]?.length === 0) continue;
    const covered = new Set<number>();
    let weight = 0;
    for (let last = first; last < units.length; last++) {
      const length = (units[last]?.end ?? 0) - unit.start;
      if (length > EXCERPT_CHARACTERS_MAX) break;
      const added = (terms[last] ?? []).filter((term) => !covered.has(term));
      for (const term of added) covered.add(term);
      weight += weigh(added, weights);
      const isBetter = weight > most.weight || (weight === most.weight && length < most.length);
      if (added.length === 0 || !isBetter || !fits(source, { first, last })) continue;
      best = { first, last };
      most = { weight, length };
    }
  }
  return best;
}

function weigh(terms: readonly number[], weights: readonly number[]): number {
  return terms.reduce((sum, term) => sum + (weights[term] ?? 0), 0);
}

/** Adds what stands before and after while it fits: first what has more of the terms, else where less was added. */
function grow(source: Source, core: UnitRange, weights: readonly number[]): UnitRange {
  const { units, terms } = source;
  const weightOf = (from: number, to: number) => weigh([...new Set(terms.slice(from, to).flat())], weights);
  const added = (from: number, to: number) =>
    to > from ? (units[to - 1]?.end ?? 0) - (units[from]?.start ?? 0) : 0;
  let range = core;
  for (;;) {
    const { first, last } = range;
    const before = { first: boundaryBefore(units, first), last };
    const after = { first, last: last + 1 };
    const canBefore = before.first < first && fits(source, before);
    const canAfter = after.last < units.length && fits(source, after);
    if (!canBefore && !canAfter) return range;
    const gain = weightOf(before.first, first) - weightOf(last + 1, last + 2);
    const balance = added(core.last + 1, last + 1) - added(first, core.first);
    const isTorn = units[first]?.begins === "piece";
    const prefersBefore = isTorn || gain > 0 || (gain === 0 && balance > 0);
    range = canBefore && (prefersBefore || !canAfter) ? before : after;
  }
}

/** The nearest unit before that begins a line or a sentence; the unit itself where there is none. */
function boundaryBefore(units: readonly QuotationUnit[], unit: number): number {
  for (let at = unit - 1; at >= 0; at--) if (units[at]?.begins !== "piece") return at;
  return unit;
}

function fits(source: Source, range: UnitRange): boolean {
  return renderExcerpt(source, range).length <= EXCERPT_CHARACTERS_MAX;
}
