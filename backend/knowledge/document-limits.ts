/**
 * How much a document may be, and the errors that say so. What is refused here is the caller's to put right, and each
 * message says how.
 */
import { ParleyError } from "../../core/errors/parley-error.ts";

/** Characters of a document's text: six long novels. What unpacks to more (a bomb in a PDF) is not read to its end. */
export const TEXT_CHARACTERS_MAX = 10_000_000;
/** Chunks of a document: some 10 MB of English; beyond it a document is a collection. */
export const CHUNKS_MAX = 10_000;
/** Pages of a PDF: more is an archive, and each page costs milliseconds even when it is empty. */
export const PAGES_MAX = 2_000;
/** Elements of an HTML document inside of one another; a parser's work on each tag grows with it. */
export const HTML_DEPTH_MAX = 2_000;
/** Reading one document: the slowest honest PDF of 2,000 pages takes a third of it. */
export const READ_TIMEOUT_MS = 30_000;
/** Memory that reading one document may take, bytes, beside the document itself. */
export const READ_MEMORY_BYTES_MAX = 512 * 1024 * 1024;

/** Why a document cannot be taken; each is a `reason` of `invalid_argument`. */
export type DocumentProblem =
  | "document-empty"
  | "document-encoding"
  | "document-binary"
  | "document-broken"
  | "document-encrypted"
  | "document-too-long"
  | "document-too-complex";

/** The error for a document that cannot be taken. */
export function documentError(problem: DocumentProblem, message: string, cause?: unknown): ParleyError {
  return new ParleyError("invalid_argument", message, { reason: problem, cause });
}

/** The error for a text over {@link TEXT_CHARACTERS_MAX}. */
export function textTooLong(): ParleyError {
  return documentError(
    "document-too-long",
    `the document's text is longer than ${TEXT_CHARACTERS_MAX} characters; divide it into several documents`,
  );
}
