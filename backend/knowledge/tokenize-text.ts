/**
 * Turns text into the terms that lexical search compares: words in lower case, English plurals made singular.
 * The same for documents and questions. What to do with stop words is the caller's decision.
 */

/** Longest term; a longer run of letters is data (base64, a hash), not a word, and is left out. */
const TERM_CHARACTERS_MAX = 64;

/** Words are runs of letters, marks and digits; in scripts that do not part words, each character is one. */
const WORDS =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}]|[[\p{L}\p{M}\p{N}]--[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}]]+/gv;

/** English function words, and those of politeness and asking; stemmed as terms are. */
const STOP_WORDS: ReadonlySet<string> = new Set(
  `a about after all also am an and any are as at be because been before being between both but by can could did
   do does doing done down each else ever few for from further get had has have having he her here hers him his how
   i if in into is it its just let like ll me more most much my no nor not now of off on once only or other our out
   over own re same shall she should so some such t than that the their them then there these they this those
   through to too under until up upon us ve very want was we were what when where whether which while who whom
   whose why will with would yes yet you your
   anybody anyone anything explain everything give hello hi know mean please something tell thank thanks`
    .split(/\s+/)
    .map(singular),
);

/** The terms of a text in order, repetitions included. Linear in its length. */
export function tokenizeText(text: string): string[] {
  const words = text.normalize("NFKC").toLowerCase().match(WORDS) ?? [];
  return words.filter((word) => word.length <= TERM_CHARACTERS_MAX).map(singular);
}

/** Whether a term says nothing of what a question is about: a stop word, a single Latin letter, a single digit. */
export function isStopWord(term: string): boolean {
  return STOP_WORDS.has(term) || /^[\p{Script=Latin}\p{N}]$/u.test(term);
}

/** The "S" stemmer of Harman, "How Effective Is Suffixing?" (JASIS 42, 1991): plurals only, the first rule that fits. */
function singular(word: string): string {
  if (word.length < 4) return word;
  if (word.endsWith("ies")) return /[ea]ies$/.test(word) ? word : `${word.slice(0, -3)}y`;
  if (word.endsWith("es")) return /[aeo]es$/.test(word) ? word : word.slice(0, -1);
  if (word.endsWith("s")) return /[us]s$/.test(word) ? word : word.slice(0, -1);
  return word;
}
