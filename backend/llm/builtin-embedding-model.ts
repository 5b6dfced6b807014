/**
 * Embeddings without a model: the words of a text and their parts, hashed into a vector of fixed length (Weinberger
 * et al., "Feature Hashing for Large Scale Multitask Learning", 2009). Texts are near each other when they have
 * words, or parts of words, in common; of meaning it knows nothing. The same text has the same vector everywhere.
 */
import { isStopWord, tokenizeText } from "../knowledge/tokenize-text.ts";
import type { EmbeddingModel } from "./embedding-model.ts";

/** A change of what is computed here is another model: collections are built anew when the id changes. */
export const BUILTIN_EMBEDDING_MODEL_ID = "builtin/lexical-1";
export const BUILTIN_EMBEDDING_DIMENSION = 384;

/** Of a text, this much is read: several times the longest chunk. */
const TEXT_CHARACTERS_MAX = 20_000;
/** Texts embedded before the event loop gets its turn: about 5 ms. */
const TEXTS_PER_TURN = 16;
/** Parts of words have these lengths; a word's beginning and end count as characters. */
const PART_LENGTHS = [3, 4, 5] as const;
/** What all parts of a word weigh together, beside the word itself, which weighs 1. */
const PARTS_WEIGHT = 0.6;

/** The embedding model of deployments that have none. Takes texts of any length. */
export class BuiltinEmbeddingModel implements EmbeddingModel {
  readonly id = BUILTIN_EMBEDDING_MODEL_ID;

  async embed(texts: readonly string[], signal: AbortSignal): Promise<Float32Array[]> {
    const vectors: Float32Array[] = [];
    for (const [index, text] of texts.entries()) {
      if (index % TEXTS_PER_TURN === 0) {
        if (index > 0) await new Promise((resolve) => setImmediate(resolve));
        signal.throwIfAborted();
      }
      vectors.push(embedLexically(text));
    }
    return vectors;
  }
}

/** A vector of length one. Only operations that IEEE 754 rounds exactly, so that every machine agrees. */
export function embedLexically(text: string): Float32Array {
  const vector = new Float64Array(BUILTIN_EMBEDDING_DIMENSION);
  for (const [term, count] of countTerms(text)) addTerm(vector, term, Math.sqrt(count));
  const norm = Math.sqrt(vector.reduce((sum, number) => sum + number * number, 0));
  // A text without words is near other such texts, and to nothing else in particular.
  if (norm === 0) vector[0] = 1;
  return Float32Array.from(vector, (number) => (norm === 0 ? number : number / norm));
}

/** How often each term stands in the text; stop words only where there is nothing else. */
function countTerms(text: string): Map<string, number> {
  const terms = tokenizeText(text.slice(0, TEXT_CHARACTERS_MAX));
  const content = terms.filter((term) => !isStopWord(term));
  const counts = new Map<string, number>();
  for (const term of content.length > 0 ? content : terms) counts.set(term, (counts.get(term) ?? 0) + 1);
  return counts;
}

function addTerm(vector: Float64Array, term: string, weight: number): void {
  addFeature(vector, `=${term}`, weight);
  const parts = partsOf(term);
  const partWeight = (weight * PARTS_WEIGHT) / Math.sqrt(parts.length);
  for (const part of parts) addFeature(vector, part, partWeight);
}

function partsOf(term: string): string[] {
  const marked = `<${term}>`;
  const parts: string[] = [];
  for (const length of PART_LENGTHS) {
    for (let start = 0; start + length <= marked.length; start++)
      parts.push(marked.slice(start, start + length));
  }
  return parts;
}

/** The sign, from a bit that the place does not use, lets collisions cancel out instead of adding up. */
function addFeature(vector: Float64Array, feature: string, weight: number): void {
  const hash = hashText(feature);
  const place = (hash >>> 1) % vector.length;
  vector[place] = (vector[place] ?? 0) + (hash & 1 ? weight : -weight);
}

/** The 32-bit FNV-1a hash of the UTF-16 code units, with the finalizer of MurmurHash3, which mixes every bit. */
function hashText(text: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index++)
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
