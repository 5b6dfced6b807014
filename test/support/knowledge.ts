/** Chunks for tests, made as ingestion makes them. */
import {
  type Chunk,
  chunkId,
  type EmbeddedChunk,
  embeddedText,
  hashContent,
} from "../../backend/knowledge/chunk.ts";
import { embedLexically } from "../../backend/llm/builtin-embedding-model.ts";

/** What a test says of a chunk; the rest has defaults. */
export type ChunkFields = Partial<Pick<Chunk, "title" | "headings" | "ordinal" | "metadata" | "startOffset">>;

/** A chunk without its vector. */
export function testChunk(documentId: string, text: string, fields: ChunkFields = {}): Chunk {
  const { title = "Title", headings = [], ordinal = 0, metadata = {}, startOffset = 0 } = fields;
  const contentHash = hashContent(text);
  return {
    chunkId: chunkId(documentId, contentHash, ordinal),
    documentId,
    ordinal,
    title,
    headings,
    text,
    startOffset,
    endOffset: startOffset + text.length,
    contentHash,
    metadata,
  };
}

/** A chunk with the builtin embedding. */
export function embeddedChunk(documentId: string, text: string, fields: ChunkFields = {}): EmbeddedChunk {
  const chunk = testChunk(documentId, text, fields);
  return { ...chunk, embedding: embedLexically(embeddedText(chunk)) };
}
