/**
 * Runs a benchmark through the product's search: the corpus cut, embedded and indexed as ingestion does it; then each
 * question by words alone, by vectors alone and by both, fused, with the product's own judgement of relevance.
 */
import type { Metadata } from "../../../backend/knowledge/chunk.ts";
import { fuseCandidates } from "../../../backend/knowledge/fuse-candidates.ts";
import { indexChunks, makeChunks } from "../../../backend/knowledge/index-document.ts";
import { CANDIDATES } from "../../../backend/knowledge/knowledge-search.ts";
import { relevantOnly, trustIn } from "../../../backend/knowledge/relevance.ts";
import { splitDocument } from "../../../backend/knowledge/split-document.ts";
import type { DocumentVersion } from "../../../backend/knowledge/stored-document.ts";
import type { Candidate, VectorIndex } from "../../../backend/knowledge/vector-index.ts";
import type { EmbeddingModel } from "../../../backend/llm/embedding-model.ts";
import type { BeirDocument, BeirQuestion, BeirSet } from "./beir-set.ts";

/** Ways of searching, in the order of the report. */
export const WAYS = ["BM25", "dense", "hybrid"] as const;

/** One of {@link WAYS}. */
export type Way = (typeof WAYS)[number];

/** What one way made of a question. */
export interface Found {
  /** Ids of documents, best first, whether relevant or not. */
  readonly ranking: readonly string[];
  /** Whether anything was left over the threshold. */
  readonly answers: boolean;
}

/** A question with what each way found. */
export interface Outcome {
  readonly question: BeirQuestion;
  readonly found: Readonly<Record<Way, Found>>;
}

const GENERATION = 1;
const TENANT_ID = "bench";
const COLLECTION = "retrieval";

/** What is measured. */
export interface RetrievalOptions {
  readonly index: VectorIndex;
  readonly model: EmbeddingModel;
  /** Length of the model's vectors. */
  readonly dimension: number;
}

/** Indexes the set, in an index that has nothing else, and asks all of its questions. */
export async function runRetrieval(set: BeirSet, options: RetrievalOptions): Promise<Outcome[]> {
  for (const document of set.documents) await store(document, options);
  const outcomes: Outcome[] = [];
  for (const question of set.questions) outcomes.push(await ask(question, options));
  return outcomes;
}

const signal = new AbortController().signal;

async function store(
  { _id, title, text, metadata }: BeirDocument,
  { index, model, dimension }: RetrievalOptions,
): Promise<void> {
  const values = Object.entries(metadata).filter(([, value]) => /string|number|boolean/.test(typeof value));
  const version: DocumentVersion = {
    ...{ title, text, mediaType: "text/plain", format: "plain" },
    metadata: Object.fromEntries(values) as Metadata,
  };
  const chunks = makeChunks(_id, version, splitDocument(text, "plain", title));
  const { embeddingFailure } = await indexChunks(
    { index, findModel: () => model, onProgress: async () => undefined },
    { tenantId: TENANT_ID, collection: COLLECTION, id: _id },
    { generation: GENERATION, embeddingModel: model.id, dimension },
    chunks,
    { wordsAlone: false, signal },
  );
  if (embeddingFailure) throw embeddingFailure;
}

async function ask(question: BeirQuestion, { index, model }: RetrievalOptions): Promise<Outcome> {
  const [embedding] = await model.embed([question.text], signal);
  const scope = { tenantId: TENANT_ID, collection: COLLECTION, generation: GENERATION };
  const { text: query, filter } = question;
  const both = await index.search({ scope, embedding, query, limit: CANDIDATES, filter }, signal);
  const words = both.flatMap(({ chunk, lexical }) => (lexical ? [{ chunk, lexical, dense: undefined }] : []));
  const vectors = both.flatMap(({ chunk, dense }) => (dense ? [{ chunk, dense, lexical: undefined }] : []));
  const judge = (candidates: readonly Candidate[]) => judged(question.text, candidates, model.id);
  return { question, found: { BM25: judge(words), dense: judge(vectors), hybrid: judge(both) } };
}

function judged(question: string, candidates: readonly Candidate[], modelId: string): Found {
  const trust = trustIn(modelId);
  const fused = fuseCandidates(candidates, trust.weight);
  return {
    ranking: [...new Set(fused.map(({ candidate }) => candidate.chunk.documentId))],
    answers: relevantOnly(question, fused, trust).length > 0,
  };
}
