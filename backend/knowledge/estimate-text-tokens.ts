/**
 * How many tokens a text is to a model, about: one pass over its characters, in any script. It errs upwards, because
 * a piece that is too long for an embedding model is refused by it. A tokenizer would know exactly, but differs from
 * model to model, takes 120 MB, and is quadratic on text that is made for that.
 */

/** Tokens of a character, by kind; from o200k_base on prose in six languages, code and base64. */
const WEIGHT = {
  letter: 0.23,
  space: 0.08,
  lineEnd: 0.4,
  digit: 0.45,
  mark: 0.75,
  /** Latin with accents, Greek, Cyrillic, Arabic, Devanagari and all else that parts words. */
  otherLetter: 0.4,
  /** Han, Kana, Hangul, Thai; halves of surrogate pairs. */
  wide: 1,
} as const;
/** Where a word changes its kind of letter, as in `camelCase` or base64, a token ends. */
const SWITCH_WEIGHT = 0.45;

/** Kinds of ASCII that words consist of. */
const LOWER = 1;
const UPPER = 2;
const DIGIT = 3;

/** Adds up the tokens of a text while walking over it once. */
export class TokenCounter {
  tokens = 0;
  #kind = 0;

  /** Takes the next UTF-16 code unit. */
  add(code: number): void {
    const kind = kindOf(code);
    if (kind !== 0 && this.#kind !== 0 && kind !== this.#kind) this.tokens += SWITCH_WEIGHT;
    this.#kind = kind;
    this.tokens += weightOf(code, kind);
  }
}

/** Tokens of `text.slice(start, end)`, about. */
export function estimateTextTokens(text: string, start = 0, end = text.length): number {
  const counter = new TokenCounter();
  for (let position = start; position < end; position++) counter.add(text.charCodeAt(position));
  return Math.ceil(counter.tokens);
}

function kindOf(code: number): number {
  if (code >= 0x61 && code <= 0x7a) return LOWER;
  if (code >= 0x41 && code <= 0x5a) return UPPER;
  return code >= 0x30 && code <= 0x39 ? DIGIT : 0;
}

function weightOf(code: number, kind: number): number {
  if (kind === DIGIT) return WEIGHT.digit;
  if (kind !== 0) return WEIGHT.letter;
  if (code === 0x0a) return WEIGHT.lineEnd;
  if (code <= 0x20) return WEIGHT.space;
  if (code < 0x80) return WEIGHT.mark;
  const isWide = (code >= 0x0e00 && code <= 0x0e7f) || (code >= 0x1100 && code <= 0x11ff) || code >= 0x2e80;
  return isWide ? WEIGHT.wide : WEIGHT.otherLetter;
}
