/** From the bytes of a document to its text and chunks, by media type. Pure work, done in a thread of its own. */
import type { DocumentMediaType } from "../../core/knowledge/document-type.ts";
import { decodeText } from "./decode-text.ts";
import { CHUNKS_MAX, documentError, TEXT_CHARACTERS_MAX, textTooLong } from "./document-limits.ts";
import type { TextFormat } from "./document-structure.ts";
import { readHtml } from "./read-html.ts";
import { readPdf } from "./read-pdf.ts";
import { type DocumentChunk, splitDocument } from "./split-document.ts";

/** A document as it was sent. */
export interface DocumentSource {
  readonly bytes: Uint8Array;
  readonly mediaType: DocumentMediaType;
  /** As its sender named it; undefined: UTF-8, or what the document itself says. */
  readonly charset?: string | undefined;
  /** Undefined: what the document itself says. */
  readonly title?: string | undefined;
}

/** A document as it is kept. */
export interface ReadDocument {
  /** What was in it, as `format`; well-formed and without NUL, so that it can be stored. */
  readonly text: string;
  readonly format: TextFormat;
  readonly title: string | undefined;
  readonly chunks: readonly DocumentChunk[];
}

/** Names of encodings in the first bytes of an HTML document (HTML, section 13.2.3.2). */
const META_CHARSET = /<meta[^>]{1,200}?charset\s*=\s*["']?\s*([\w:.-]{1,40})/i;
const META_BYTES_MAX = 1_024;

/** @throws ParleyError `invalid_argument` with a DocumentProblem as reason */
export async function readDocument(source: DocumentSource): Promise<ReadDocument> {
  const { text, title, format } = await extractText(source);
  if (text.length > TEXT_CHARACTERS_MAX) throw textTooLong();
  return { text, format, ...split(text, format, source.title ?? title, source.mediaType) };
}

/**
 * The chunks of a text that was read before.
 *
 * @throws ParleyError as {@link readDocument}
 */
export function split(text: string, format: TextFormat, title: string | undefined, mediaType: string) {
  const document = splitDocument(text, format, title);
  if (document.chunks.length === 0) throw empty(mediaType);
  if (document.chunks.length > CHUNKS_MAX) {
    throw documentError(
      "document-too-long",
      `the document makes ${document.chunks.length} chunks; ${CHUNKS_MAX} are allowed, divide it into several`,
    );
  }
  return document;
}

async function extractText({ bytes, mediaType, charset }: DocumentSource) {
  if (mediaType === "application/pdf") return { ...(await readPdf(bytes)), format: "pages" as const };
  if (mediaType === "text/plain") {
    return { text: decodeText(bytes, charset), title: undefined, format: "plain" as const };
  }
  if (mediaType === "text/markdown") {
    return { text: decodeText(bytes, charset), title: undefined, format: "markdown" as const };
  }
  const html = decodeText(bytes, charset ?? charsetInHtml(bytes));
  return { ...readHtml(html), format: "markdown" as const };
}

function charsetInHtml(bytes: Uint8Array): string | undefined {
  const head = new TextDecoder("latin1").decode(bytes.subarray(0, META_BYTES_MAX));
  return META_CHARSET.exec(head)?.[1];
}

function empty(mediaType: string) {
  const advice =
    mediaType === "application/pdf"
      ? "the PDF has no text, perhaps because it is a scan; recognise its text first (OCR)"
      : "the document has no text: no letter and no digit is in it (front matter aside)";
  return documentError("document-empty", advice);
}
