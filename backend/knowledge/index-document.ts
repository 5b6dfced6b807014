/**
 * Brings one version of a document into the index: cut, embedded by the model of each generation that is meant, and
 * stored in place of what was there of the document.
 */
import { ParleyError } from "../../core/errors/parley-error.ts";
import type { EmbeddingModel } from "../llm/embedding-model.ts";
import { type Chunk, chunkId, type EmbeddedChunk, embeddedText, hashContent } from "./chunk.ts";
import type { Generation } from "./collection-store.ts";
import type { SplitDocument } from "./split-document.ts";
import type { DocumentKey, DocumentVersion } from "./stored-document.ts";
import type { VectorIndex } from "./vector-index.ts";

/** Chunks embedded by one call: a few seconds of a small model's work, and what is lost when it fails. */
const BATCH_CHUNKS = 64;
/** Of a text that the model says is too long, this share is embedded; the whole text is still stored and found by words. */
const SHORTENED_SHARE = 0.5;
/** Halves of halves: what is too long still is not text. */
const SHORTENINGS_MAX = 3;

/** What indexing works with. */
export interface IndexingParts {
  readonly index: VectorIndex;
  findModel(id: string): EmbeddingModel | undefined;
  /** Called between calls of the model; throws when the work has become somebody else's. */
  onProgress(): Promise<void>;
}

/** What came of it. */
export interface Indexed {
  readonly chunksCount: number;
  /** Why chunks went in without embeddings; undefined when all have them. */
  readonly embeddingFailure: ParleyError | undefined;
}

/** The chunks of a version, as they are indexed. */
export function makeChunks(documentId: string, version: DocumentVersion, { chunks }: SplitDocument): Chunk[] {
  return chunks.map(({ headings, start, end }, ordinal) => {
    const text = version.text.slice(start, end);
    const contentHash = hashContent(text);
    return {
      chunkId: chunkId(documentId, contentHash, ordinal),
      documentId,
      ordinal,
      title: version.title,
      headings,
      text,
      startOffset: start,
      endOffset: end,
      contentHash,
      metadata: version.metadata,
    };
  });
}

/**
 * Stores the chunks in one generation. When the model cannot be asked, they are stored to be found by their words
 * alone, unless `wordsAlone` is false; then that failure is thrown.
 */
export async function indexChunks(
  parts: IndexingParts,
  { tenantId, collection, id }: DocumentKey,
  { generation, embeddingModel, dimension }: Generation,
  chunks: readonly Chunk[],
  { wordsAlone, signal }: { wordsAlone: boolean; signal: AbortSignal },
): Promise<Indexed> {
  const scope = { tenantId, collection, generation };
  let embeddings: (Float32Array | undefined)[] = [];
  let embeddingFailure: ParleyError | undefined;
  try {
    embeddings = await embedChunks(parts, embeddingModel, dimension, chunks, signal);
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof ParleyError) || !wordsAlone) throw error;
    embeddingFailure = error;
  }
  await parts.onProgress();
  await parts.index.prepare(scope, dimension, signal);
  const embedded = chunks.map((chunk, at): EmbeddedChunk => ({ ...chunk, embedding: embeddings[at] }));
  await parts.index.replaceDocument(scope, id, embedded, signal);
  return { chunksCount: chunks.length, embeddingFailure };
}

async function embedChunks(
  parts: IndexingParts,
  modelId: string,
  dimension: number,
  chunks: readonly Chunk[],
  signal: AbortSignal,
): Promise<(Float32Array | undefined)[]> {
  const model = parts.findModel(modelId);
  if (!model) throw new ParleyError("unavailable", `the embedding model ${modelId} is not configured here`);
  const vectors: (Float32Array | undefined)[] = [];
  for (let start = 0; start < chunks.length; start += BATCH_CHUNKS) {
    if (start > 0) await parts.onProgress();
    const texts = chunks.slice(start, start + BATCH_CHUNKS).map(embeddedText);
    vectors.push(...(await embedTexts(model, texts, signal)));
  }
  if (vectors.some((vector) => vector !== undefined && vector.length !== dimension)) {
    throw new ParleyError(
      "unavailable",
      `the embedding model ${modelId} has not ${dimension} dimensions any more`,
    );
  }
  return vectors;
}

/** A text that is too long for the model must not keep the others of its batch from being embedded. */
async function embedTexts(
  model: EmbeddingModel,
  texts: readonly string[],
  signal: AbortSignal,
): Promise<(Float32Array | undefined)[]> {
  try {
    return await model.embed(texts, signal);
  } catch (error) {
    if (!isTooLong(error)) throw error;
  }
  const vectors: (Float32Array | undefined)[] = [];
  for (const text of texts) vectors.push(await embedShortened(model, text, signal));
  return vectors;
}

async function embedShortened(
  model: EmbeddingModel,
  text: string,
  signal: AbortSignal,
): Promise<Float32Array | undefined> {
  let shortened = text;
  for (let shortening = 0; shortening <= SHORTENINGS_MAX; shortening++) {
    try {
      const [vector] = await model.embed([shortened], signal);
      return vector;
    } catch (error) {
      if (!isTooLong(error)) throw error;
      shortened = shortened.slice(0, Math.ceil(shortened.length * SHORTENED_SHARE)).toWellFormed();
    }
  }
  return undefined;
}

function isTooLong(error: unknown): boolean {
  return error instanceof ParleyError && error.reason === "context-window";
}
