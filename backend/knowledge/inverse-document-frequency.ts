/**
 * What a term is worth for being rare: Robertson and Spärck Jones, plus one inside the logarithm to keep common terms
 * above zero.
 *
 * @param having documents that have the term, up to `documents`
 */
export function inverseDocumentFrequency(having: number, documents: number): number {
  return Math.log(1 + (documents - having + 0.5) / (having + 0.5));
}
