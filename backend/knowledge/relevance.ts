/**
 * Tells passages that have to do with a question from those that are only the nearest there are. A passage counts
 * when it covers enough of the question's words, or when its embedding is near enough by the measure of its model.
 */
import { BUILTIN_EMBEDDING_MODEL_ID } from "../llm/builtin-embedding-model.ts";
import { embeddedText } from "./chunk.ts";
import { inverseDocumentFrequency } from "./inverse-document-frequency.ts";
import { isStopWord, tokenizeText } from "./tokenize-text.ts";
import type { Candidate } from "./vector-index.ts";
import { stemOf, stemsOf } from "./word-stem.ts";

/**
 * The least share of a question that a passage must cover, each term weighed by its idf. A term that no candidate
 * has weighs most, so a question about something else is not answered by its common words.
 */
export const COVERAGE_MIN = 1 / 3;
/** Of a question, this much is read. */
const QUERY_CHARACTERS_MAX = 4_000;
/**
 * Size of the collection that idf is reckoned for. The candidates are the best that the collection has, so a term is
 * about as frequent in it as among them where it is rare; where it is not, it weighs little anyway.
 */
const CHUNKS_NOMINAL = 200;

/** How an embedding model is to be taken. */
export interface EmbeddingTrust {
  /** The cosine from which on a passage is relevant by itself. */
  readonly cosineMin: number;
  /** Of its ranking against the lexical one, which weighs 1. */
  readonly weight: number;
}

/** The builtin model sees words, not meaning: it corrects the ranking by words, and does not decide by itself. */
const BUILTIN_TRUST: EmbeddingTrust = { cosineMin: 0.5, weight: 0.3 };
/** OpenAI's third generation puts related texts at 0.3 to 0.7, others below. */
const OPENAI_TRUST: EmbeddingTrust = { cosineMin: 0.4, weight: 1 };
/** Most other models leave unrelated texts at 0.3 to 0.5. */
const OTHER_TRUST: EmbeddingTrust = { cosineMin: 0.6, weight: 1 };

/** How the model of this id is to be taken. */
export function trustIn(embeddingModelId: string): EmbeddingTrust {
  if (embeddingModelId === BUILTIN_EMBEDDING_MODEL_ID) return BUILTIN_TRUST;
  return embeddingModelId.startsWith("openai/text-embedding-3") ? OPENAI_TRUST : OTHER_TRUST;
}

/** The candidates that have to do with the question, in their order. */
export function relevantOnly<Item extends { readonly candidate: Candidate }>(
  question: string,
  items: readonly Item[],
  { cosineMin }: EmbeddingTrust,
): Item[] {
  const terms = new Set(
    tokenizeText(question.slice(0, QUERY_CHARACTERS_MAX)).filter((term) => !isStopWord(term)),
  );
  const words = items.map(({ candidate }) => stemsOf(tokenizeText(embeddedText(candidate.chunk))));
  const weights = [...terms].map(stemOf).map((stem) => ({
    stem,
    weight: inverseDocumentFrequency(words.filter((each) => each.has(stem)).length, CHUNKS_NOMINAL),
  }));
  const total = weights.reduce((sum, { weight }) => sum + weight, 0);
  return items.filter(({ candidate }, index) => {
    if ((candidate.dense?.score ?? 0) >= cosineMin) return true;
    const covered = weights.reduce(
      (sum, { stem, weight }) => sum + (words[index]?.has(stem) ? weight : 0),
      0,
    );
    return total > 0 && covered >= COVERAGE_MIN * total;
  });
}
