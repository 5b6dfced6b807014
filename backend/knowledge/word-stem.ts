/** Compares words by their beginnings, which their forms share: configure, configured, configuration. */

/** Shorter words share beginnings by chance. */
const STEM_CHARACTERS_MIN = 5;
/** Of a longer word, this much may be an ending. */
const SUFFIX_CHARACTERS = 2;

/** The beginning of a word, which its forms share. */
export function stemOf(term: string): string {
  return term.slice(0, Math.max(STEM_CHARACTERS_MIN, term.length - SUFFIX_CHARACTERS));
}

/** Every beginning of every word that could be the stem of a term, and the words themselves. */
export function stemsOf(words: readonly string[]): Set<string> {
  const stems = new Set<string>();
  for (const word of new Set(words)) {
    stems.add(word);
    for (let length = STEM_CHARACTERS_MIN; length < word.length; length++) stems.add(word.slice(0, length));
  }
  return stems;
}
