/**
 * How fast an index is when it is large: ingestion by the product's own calls, then searches one after the other,
 * by vectors alone, by words alone and by both ways, against an exact search.
 */

import { CANDIDATES } from "../../../backend/knowledge/knowledge-search.ts";
import type { IndexScope, VectorIndex } from "../../../backend/knowledge/vector-index.ts";
import { ParleyError } from "../../../core/errors/parley-error.ts";
import { sleep } from "../../../core/resilience/full-jitter.ts";
import { type Memory, measureMemory } from "./memory.ts";
import type { OpenIndex } from "./open-index.ts";
import { DIMENSION, type Question, ScaleData } from "./scale-data.ts";

/** Chunks of a document: about 25,000 words, a small book. */
const CHUNKS_PER_DOCUMENT = 64;
/** Of the recall. */
const K = 10;
const WARM_UP_SEARCHES = 20;
/** Before the index is settled, when each takes long. */
const UNSETTLED_SEARCHES = 50;
const SEED = 6;
const SCOPE: IndexScope = { tenantId: "bench", collection: "scale", generation: 1 };
const PROGRESS_EVERY = 10_000;
/** After which an index has looked again at the state of a scope. */
const SETTLED_UNSEEN_MS = 31_000;
/** Of the first search; each waits 5 s at most. */
const FIRST_ATTEMPTS_MAX = 60;

/** How much is measured. */
export interface ScaleOptions {
  readonly chunks: number;
  readonly searches: number;
  /** Documents stored at once, as the ingestion runner does it. */
  readonly concurrency: number;
  readonly onProgress: (text: string) => void;
}

/** Times of one kind of search. */
export interface Latency {
  readonly p50Ms: number;
  readonly p95Ms: number;
}

/** What was measured of one index. */
export interface ScaleResult {
  readonly chunks: number;
  readonly chunksPerSecond: number;
  /** Before what is built in the background is there; undefined where nothing is. */
  readonly unsettled: { readonly hybrid: Latency; readonly settlingMs: number } | undefined;
  readonly dense: Latency;
  readonly words: Latency;
  readonly hybrid: Latency;
  /** Of the ten nearest, the share that was found. */
  readonly recall: number;
  readonly memory: Memory | undefined;
  readonly sizes: Record<string, number>;
}

const signal = new AbortController().signal;

/** Fills the index and searches in it. */
export async function measureScale(
  { index, settle, sizes }: Pick<OpenIndex, "index" | "settle" | "sizes">,
  options: ScaleOptions,
): Promise<ScaleResult> {
  const data = new ScaleData(SEED);
  await index.prepare(SCOPE, DIMENSION, signal);
  const stored = await store(index, data, options);
  const questions = Array.from({ length: options.searches }, () => data.question());
  options.onProgress(`first answer after ${(await untilAnswered(index, questions[0])).toFixed(0)} ms`);
  for (const { embedding, query } of questions.slice(0, WARM_UP_SEARCHES))
    await search(index, embedding, query);
  const unsettled = settle && (await measureUnsettled(index, settle, questions, options));
  options.onProgress("searching …");
  await timed(questions, ({ embedding }) => search(index, embedding, ""));
  const dense = await timed(questions, ({ embedding }) => search(index, embedding, ""));
  // Others, whose terms have not been counted.
  const others = questions.map(() => data.question());
  const words = await timed(others, ({ query }) => search(index, undefined, query));
  const hybrid = await timed(questions, ({ embedding, query }) => search(index, embedding, query));
  const memory = measureMemory();
  options.onProgress("comparing with an exact search …");
  const recalls = questions.map(({ embedding }, at) => {
    const nearest = stored.nearest(embedding, K);
    const found = new Set(dense.results[at]?.filter(({ dense: way }) => (way?.rank ?? K + 1) <= K).map(idOf));
    return nearest.filter((id) => found.has(id)).length / nearest.length;
  });
  const recall = recalls.reduce((sum, value) => sum + value, 0) / recalls.length;
  return {
    chunks: options.chunks,
    chunksPerSecond: stored.chunksPerSecond,
    unsettled,
    dense: dense.latency,
    words: words.latency,
    hybrid: hybrid.latency,
    ...{ recall, memory, sizes: (await sizes?.()) ?? {} },
  };
}

async function measureUnsettled(
  index: VectorIndex,
  settle: NonNullable<OpenIndex["settle"]>,
  questions: readonly Question[],
  { onProgress }: ScaleOptions,
) {
  const some = questions.slice(0, UNSETTLED_SEARCHES);
  const { latency } = await timed(some, ({ embedding, query }) => search(index, embedding, query));
  onProgress("settling …");
  const startedAtMs = performance.now();
  await settle(signal);
  const settlingMs = performance.now() - startedAtMs;
  // As long as it believes that nothing is settled.
  await sleep(SETTLED_UNSEEN_MS, signal);
  return { hybrid: latency, settlingMs };
}

const idOf = ({ chunk }: { readonly chunk: { readonly chunkId: string } }) => chunk.chunkId;

function search(index: VectorIndex, embedding: Float32Array | undefined, query: string) {
  return index.search({ scope: SCOPE, embedding, query, limit: CANDIDATES }, signal);
}

/** Milvus Lite makes its indexes when it is searched first, and answers nothing meanwhile. Milliseconds. */
async function untilAnswered(index: VectorIndex, question: Question | undefined): Promise<number> {
  const startedAtMs = performance.now();
  if (!question) return 0;
  for (let attempt = 1; ; attempt++) {
    try {
      await search(index, question.embedding, question.query);
      return performance.now() - startedAtMs;
    } catch (error) {
      if (!(error instanceof ParleyError && error.retryable) || attempt === FIRST_ATTEMPTS_MAX) throw error;
    }
  }
}

/** Only what the index does counts: the data is made outside of the measured time. */
async function store(index: VectorIndex, data: ScaleData, options: ScaleOptions) {
  const { chunks, concurrency, onProgress } = options;
  const ids: string[] = [];
  const vectors = new Float32Array(chunks * DIMENSION);
  let spentMs = 0;
  while (ids.length < chunks) {
    const documents = Array.from({ length: concurrency }, (_, at) => {
      const document = data.document(
        `book-${ids.length}-${at}`,
        Math.min(CHUNKS_PER_DOCUMENT, chunks - ids.length),
      );
      for (const { chunkId, embedding } of document) {
        if (embedding) vectors.set(embedding, ids.length * DIMENSION);
        ids.push(chunkId);
      }
      return document;
    }).filter((document) => document.length > 0);
    const startedAtMs = performance.now();
    await Promise.all(
      documents.map((document) =>
        index.replaceDocument(SCOPE, document[0]?.documentId ?? "", document, signal),
      ),
    );
    spentMs += performance.now() - startedAtMs;
    const added = documents.reduce((sum, document) => sum + document.length, 0);
    if (Math.floor(ids.length / PROGRESS_EVERY) > Math.floor((ids.length - added) / PROGRESS_EVERY)) {
      onProgress(`${ids.length} chunks, ${((ids.length * 1_000) / spentMs).toFixed(0)}/s`);
    }
  }
  return {
    chunksPerSecond: (chunks * 1_000) / spentMs,
    nearest: (question: Float32Array, count: number) => nearest(ids, vectors, question, count),
  };
}

/** The ids of the vectors with the largest cosine; all have length one. */
function nearest(
  ids: readonly string[],
  vectors: Float32Array,
  question: Float32Array,
  count: number,
): string[] {
  const scores = Float64Array.from(ids, (_, at) => {
    let sum = 0;
    for (let place = 0, from = at * DIMENSION; place < DIMENSION; place++) {
      sum += (vectors[from + place] ?? 0) * (question[place] ?? 0);
    }
    return sum;
  });
  const best: number[] = [];
  for (let at = 0; at < scores.length; at++) {
    if (best.length === count && (scores[at] ?? 0) <= (scores[best.at(-1) ?? 0] ?? 0)) continue;
    best.push(at);
    best.sort((a, b) => (scores[b] ?? 0) - (scores[a] ?? 0));
    best.length = Math.min(best.length, count);
  }
  return best.map((at) => ids[at] ?? "");
}

async function timed<Item, Result>(items: readonly Item[], run: (item: Item) => Promise<Result>) {
  const times: number[] = [];
  const results: Result[] = [];
  for (const item of items) {
    const startedAtMs = performance.now();
    results.push(await run(item));
    times.push(performance.now() - startedAtMs);
  }
  times.sort((a, b) => a - b);
  const percentile = (share: number) =>
    times[Math.min(times.length - 1, Math.floor(share * times.length))] ?? 0;
  return { results, latency: { p50Ms: percentile(0.5), p95Ms: percentile(0.95) } satisfies Latency };
}
