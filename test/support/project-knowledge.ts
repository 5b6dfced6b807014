/** Documents cut, embedded and indexed in a scope, as ingestion does it, without its tables and threads. */
import {
  chunkId,
  type EmbeddedChunk,
  embeddedText,
  hashContent,
  type Metadata,
} from "../../backend/knowledge/chunk.ts";
import { splitDocument } from "../../backend/knowledge/split-document.ts";
import type { IndexScope, VectorIndex } from "../../backend/knowledge/vector-index.ts";
import { BUILTIN_EMBEDDING_DIMENSION, embedLexically } from "../../backend/llm/builtin-embedding-model.ts";

/** A Markdown document. */
export interface TestDocument {
  readonly id: string;
  readonly text: string;
  readonly metadata?: Metadata;
}

/** Its chunks, with the builtin embedding. */
export function chunksOf({ id, text, metadata = {} }: TestDocument): EmbeddedChunk[] {
  const { title = id, chunks } = splitDocument(text, "markdown");
  return chunks.map(({ headings, start, end }, ordinal) => {
    const piece = text.slice(start, end);
    const contentHash = hashContent(piece);
    const chunk = {
      chunkId: chunkId(id, contentHash, ordinal),
      documentId: id,
      ...{ ordinal, title, headings, text: piece, startOffset: start, endOffset: end, contentHash, metadata },
    };
    return { ...chunk, embedding: embedLexically(embeddedText(chunk)) };
  });
}

/** Puts documents into a scope. */
export async function indexDocuments(
  index: VectorIndex,
  scope: IndexScope,
  documents: readonly TestDocument[],
): Promise<void> {
  const signal = new AbortController().signal;
  await index.prepare(scope, BUILTIN_EMBEDDING_DIMENSION, signal);
  for (const document of documents) {
    await index.replaceDocument(scope, document.id, chunksOf(document), signal);
  }
}
