/** What every index refuses before it asks its engine, in the same words. */
import { ParleyError } from "../../core/errors/parley-error.ts";
import { CHUNK_CHARACTERS_MAX, type EmbeddedChunk, METADATA_FIELDS_MAX } from "./chunk.ts";
import { CANDIDATES_MAX, DIMENSION_MAX, DOCUMENT_CHUNKS_MAX, type IndexQuery } from "./vector-index.ts";

/** Refuses a length of vectors that not every engine can index. */
export function checkDimension(dimension: number): void {
  if (Number.isInteger(dimension) && dimension >= 1 && dimension <= DIMENSION_MAX) return;
  throw new ParleyError(
    "invalid_argument",
    `embeddings of ${dimension} numbers cannot be indexed; use an embedding model with at most ${DIMENSION_MAX}`,
    { reason: "dimension" },
  );
}

/** Refuses what is larger than the port allows, chunks of another document, and vectors of different lengths. */
export function checkChunks(documentId: string, chunks: readonly EmbeddedChunk[]): void {
  if (chunks.length > DOCUMENT_CHUNKS_MAX) {
    throw new ParleyError(
      "invalid_argument",
      `the document has ${chunks.length} chunks, at most ${DOCUMENT_CHUNKS_MAX} are taken; split it into several`,
      { reason: "document-too-large" },
    );
  }
  if (chunks.some((chunk) => chunk.documentId !== documentId)) {
    throw new ParleyError("internal", "a chunk of another document was to be stored");
  }
  for (const { text, metadata } of chunks) {
    if (text.length > CHUNK_CHARACTERS_MAX)
      throw tooLarge(`a chunk of more than ${CHUNK_CHARACTERS_MAX} characters`);
    if (Object.keys(metadata).length > METADATA_FIELDS_MAX) {
      throw tooLarge(`more than ${METADATA_FIELDS_MAX} fields of metadata`);
    }
  }
  const dimensions = new Set(chunks.flatMap(({ embedding }) => (embedding ? [embedding.length] : [])));
  for (const dimension of dimensions) checkDimension(dimension);
  if (dimensions.size > 1) {
    throw new ParleyError("invalid_argument", "the embeddings of a document have different lengths", {
      reason: "dimension",
    });
  }
}

function tooLarge(what: string): ParleyError {
  return new ParleyError("invalid_argument", `the document has ${what}`, { reason: "document-too-large" });
}

/** Refuses a search for more, or fewer, candidates than the port allows. */
export function checkLimit({ limit, embedding }: IndexQuery): void {
  if (embedding) checkDimension(embedding.length);
  if (Number.isInteger(limit) && limit >= 1 && limit <= CANDIDATES_MAX) return;
  throw new ParleyError("invalid_argument", `a search finds 1 to ${CANDIDATES_MAX} candidates, not ${limit}`);
}
