/**
 * Search in a collection: by meaning and by words, fused, without what is irrelevant or said twice. It has a deadline
 * and breakers: when the index is slow or gone there are no passages, quickly; without the embedding model, words
 * alone.
 */
import { LruMap } from "../../core/directory/lru-map.ts";
import { CircuitBreaker } from "../llm/circuit-breaker.ts";
import type { EmbeddingModel } from "../llm/embedding-model.ts";
import { guardedCall } from "../llm/guarded-call.ts";
import type { CollectionStore } from "./collection-store.ts";
import { WORD } from "./document-structure.ts";
import { findCollection } from "./find-collection.ts";
import { type FusedCandidate, fuseCandidates } from "./fuse-candidates.ts";
import { distinct } from "./near-duplicates.ts";
import type { Passage, PassageQuery, PassageRetriever, Retrieval } from "./passage-retriever.ts";
import { relevantOnly, trustIn } from "./relevance.ts";
import type { VectorIndex } from "./vector-index.ts";

/** Of all: an answer that waits longer for passages comes too late. */
export const SEARCH_TIMEOUT_MS = 1_500;
/** Of it, for the question's embedding. */
export const EMBEDDING_TIMEOUT_MS = 800;
/** Candidates of each way, unless more passages are asked for. 40 take a fifth longer and find one passage more for 100 questions. */
export const CANDIDATES = 30;
/** Passages of one search. */
export const PASSAGES_MAX = 50;
/** Embedding models whose breakers are remembered: as many as collections were ever built with. */
const MODELS_MAX = 100;

/** What search works with. */
export interface KnowledgeSearchOptions {
  readonly index: VectorIndex;
  readonly collections: Pick<CollectionStore, "find">;
  /** The model of an id; undefined when this deployment does not have it. */
  readonly findModel: (id: string) => EmbeddingModel | undefined;
  /** Milliseconds that only grow. */
  readonly now: () => number;
  readonly random: () => number;
  /** Default {@link SEARCH_TIMEOUT_MS}. */
  readonly timeoutMs?: number | undefined;
  /** Something does not answer; `error` is for the log. */
  readonly onFailure: (what: "index" | "embedding model", error: unknown) => void;
}

/** {@link PassageRetriever} over an index. */
export class KnowledgeSearch implements PassageRetriever {
  readonly #options: KnowledgeSearchOptions;
  readonly #indexBreaker: CircuitBreaker;
  readonly #modelBreakers = new LruMap<CircuitBreaker>(MODELS_MAX);

  constructor(options: KnowledgeSearchOptions) {
    this.#options = options;
    this.#indexBreaker = new CircuitBreaker(options);
  }

  async retrieve(query: PassageQuery, signal: AbortSignal): Promise<Retrieval> {
    const retrieval = await guardedCall(
      this.#indexBreaker,
      signal,
      this.#options.timeoutMs ?? SEARCH_TIMEOUT_MS,
      {
        run: (limited) => this.#search(query, limited),
        onFailure: (error) => this.#options.onFailure("index", error),
      },
    );
    return retrieval ?? { passages: [], state: "unavailable" };
  }

  async #search(query: PassageQuery, signal: AbortSignal): Promise<Retrieval> {
    const { collections } = this.#options;
    const collection = await findCollection(collections, query.tenantId, query.collection, signal);
    // "???" has an embedding, too, and nothing that a passage could answer.
    if (!collection || !WORD.test(query.query)) return { passages: [], state: "complete" };
    const { tenantId, name, active } = collection;
    const embedding = await this.#embed(active.embeddingModel, query.query, signal);
    const passagesMax = Math.min(query.passagesMax, PASSAGES_MAX);
    const candidates = await this.#options.index.search(
      {
        scope: { tenantId, collection: name, generation: active.generation },
        query: query.query,
        embedding,
        limit: Math.max(CANDIDATES, passagesMax),
        filter: query.filter,
      },
      signal,
    );
    const trust = trustIn(active.embeddingModel);
    const fused = relevantOnly(query.query, fuseCandidates(candidates, trust.weight), trust);
    const best = distinct(fused, passagesMax, ({ candidate }) => candidate.chunk);
    return { passages: best.map(toPassage), state: embedding ? "complete" : "words-only" };
  }

  async #embed(modelId: string, text: string, signal: AbortSignal): Promise<Float32Array | undefined> {
    const model = this.#options.findModel(modelId);
    if (!model) return undefined;
    let breaker = this.#modelBreakers.get(modelId);
    if (!breaker) {
      breaker = new CircuitBreaker(this.#options);
      this.#modelBreakers.set(modelId, breaker);
    }
    return guardedCall(breaker, signal, EMBEDDING_TIMEOUT_MS, {
      run: async (limited) => (await model.embed([text], limited))[0],
      onFailure: (error) => this.#options.onFailure("embedding model", error),
    });
  }
}

function toPassage({ candidate: { chunk }, score }: FusedCandidate): Passage {
  const { text, documentId, title, headings, startOffset, endOffset, metadata } = chunk;
  return { text, documentId, title, headings, start: startOffset, end: endOffset, score, metadata };
}
