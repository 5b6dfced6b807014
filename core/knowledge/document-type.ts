/** Which documents are read, by the header `Content-Type` that they come with. */
import { ParleyError } from "../errors/parley-error.ts";

/** Media types that are read. */
export const DOCUMENT_MEDIA_TYPES = [
  "text/plain",
  "text/markdown",
  "text/html",
  "application/xhtml+xml",
  "application/pdf",
] as const;

/** One of {@link DOCUMENT_MEDIA_TYPES}. */
export type DocumentMediaType = (typeof DOCUMENT_MEDIA_TYPES)[number];

/** What the header says. */
export interface DocumentType {
  readonly mediaType: DocumentMediaType;
  /** Undefined where it is not named. */
  readonly charset: string | undefined;
}

/** @throws ParleyError `invalid_argument` with reason `unsupported-media-type` for a missing or another type */
export function readDocumentType(contentType: string): DocumentType {
  const [type = "", ...parameters] = contentType.split(";");
  const name = type.trim().toLowerCase();
  const mediaType = DOCUMENT_MEDIA_TYPES.find((known) => known === name);
  const charset = parameters
    .map((parameter) => /^\s*charset\s*=\s*"?([^"]*?)"?\s*$/i.exec(parameter)?.[1])
    .find((found) => found !== undefined);
  if (mediaType) return { mediaType, charset };
  const problem = name === "" ? "the document's media type is missing" : `${name.slice(0, 80)} is not read`;
  throw new ParleyError(
    "invalid_argument",
    `${problem}; send it with \`Content-Type\` one of ${DOCUMENT_MEDIA_TYPES.join(", ")}`,
    { reason: "unsupported-media-type" },
  );
}
