/**
 * Answers to questions that mean nearly the same. What decides on an answer beside the question is its callers' to
 * say; nearness is the cosine of two embeddings of the deployment's model.
 */
import { createHash } from "node:crypto";
import { isStopWord, tokenizeText } from "../knowledge/tokenize-text.ts";
import { BUILTIN_EMBEDDING_MODEL_ID } from "../llm/builtin-embedding-model.ts";
import type { QuestionEmbedder } from "../llm/question-embedder.ts";
import type { AnswerCache, CachedAnswer } from "./answer-cache.ts";
import type { QuestionIndex, QuestionOwner } from "./question-index.ts";

/** A longer question is rarely asked again in other words, and some embedding models take no more. */
export const QUESTION_CHARACTERS_MAX = 2_000;

/** A question, and what must be the same for its answer to be the same. */
export interface ContextFreeQuestion extends QuestionOwner {
  readonly text: string;
  /** All that decides on the answer, but for the question. */
  readonly identity: string;
}

/** What came of looking. */
export interface SimilarAnswer {
  /** Undefined when no question was near enough. */
  readonly found: { readonly answer: CachedAnswer; readonly similarity: number } | undefined;
  /** Keeps an answer to this question. Never rejects. */
  keep(answer: CachedAnswer, timeToLiveMs: number): Promise<void>;
}

/** What it works with. */
export interface SimilarAnswersOptions {
  readonly index: QuestionIndex;
  readonly cache: AnswerCache;
  readonly embed: QuestionEmbedder;
}

/** See above. */
export class SimilarAnswers {
  readonly #options: SimilarAnswersOptions;

  constructor(options: SimilarAnswersOptions) {
    this.#options = options;
  }

  /**
   * Looks for an answer to a question whose cosine with this one is at least `threshold`. Undefined when the question
   * has no embedding: then nothing can be kept either. Rejects only with the reason of `signal`.
   */
  async find(
    question: ContextFreeQuestion,
    threshold: number,
    signal: AbortSignal,
  ): Promise<SimilarAnswer | undefined> {
    const { tenantId, agentId, text, identity } = question;
    if (text.length > QUESTION_CHARACTERS_MAX) return undefined;
    const embedded = await this.#options.embed(text, signal);
    const vector = embedded && unit(embedded.vector);
    if (!vector) return undefined;
    const owner = { tenantId, agentId };
    const scope = hashOf(identity, embedded.modelId, ...decisiveWords(text, embedded.modelId));
    const { index, cache } = this.#options;
    let found: SimilarAnswer["found"];
    for (const { hash, similarity } of await index.closest(owner, { scope, vector, threshold })) {
      const answer = await cache.get({ tenantId, hash });
      if (!answer) continue;
      found = { answer, similarity };
      break;
    }
    signal.throwIfAborted();
    return {
      found,
      async keep(answer, timeToLiveMs) {
        const hash = hashOf("similar", scope, text);
        await cache.put({ tenantId, hash }, answer, timeToLiveMs);
        await index.add(owner, { scope, hash, vector }, timeToLiveMs);
      },
    };
  }
}

/**
 * Words in which questions must not differ however near they are. Numbers: "plan 1" and "plan 2" are neighbours to
 * every model. The builtin model does not even see stop words: "who is" and "what is" are one to it.
 */
function decisiveWords(text: string, modelId: string): string[] {
  const numbers = text.normalize("NFKC").match(/\p{N}+/gu) ?? [];
  if (modelId !== BUILTIN_EMBEDDING_MODEL_ID) return numbers;
  return [...numbers, "", ...tokenizeText(text).filter(isStopWord).toSorted()];
}

/** Undefined for a vector that points nowhere. */
function unit(vector: Float32Array): Float32Array | undefined {
  const norm = Math.sqrt(vector.reduce((sum, number) => sum + number * number, 0));
  return norm > 0 ? vector.map((number) => number / norm) : undefined;
}

function hashOf(...parts: readonly string[]): string {
  return createHash("sha256").update(JSON.stringify(parts)).digest("hex");
}
