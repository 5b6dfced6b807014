/** What callers send of a document, checked before anything is done with it. */
import { createHash } from "node:crypto";
import * as z from "zod";
import { type Violation, validate } from "../../core/administration/violations.ts";
import { IDENTIFIER_PATTERN } from "../../core/directory/agent.ts";
import { ParleyError } from "../../core/errors/parley-error.ts";
import { DOCUMENT_BYTES_MAX } from "../../core/knowledge/document-size.ts";
import { readDocumentType } from "../../core/knowledge/document-type.ts";
import type { Metadata } from "./chunk.ts";
import { METADATA_FIELD_PATTERN, METADATA_FIELD_RULE } from "./metadata-filter.ts";
import type { DocumentSource } from "./read-document.ts";

/** A path as people write them: no control characters, no space at the ends. */
const DOCUMENT_ID_PATTERN = /^(?![\s/])[^\p{Cc}\p{Zl}\p{Zp}]{1,256}(?<!\s)$/u;
const TITLE_CHARACTERS_MAX = 200;
/** Fields of metadata: it goes with every chunk. */
const METADATA_FIELDS_MAX = 32;
const METADATA_TEXT_CHARACTERS_MAX = 512;

const documentSchema = z.object({
  id: z
    .string()
    .regex(
      DOCUMENT_ID_PATTERN,
      "must be 1 to 256 characters without control characters, e.g. docs/limits.md",
    ),
  title: z.string().max(TITLE_CHARACTERS_MAX),
  metadata: z
    .record(
      z.string().regex(METADATA_FIELD_PATTERN),
      z.union([z.string().max(METADATA_TEXT_CHARACTERS_MAX), z.number(), z.boolean()], {
        error: `must be a text of up to ${METADATA_TEXT_CHARACTERS_MAX} characters, a number or a boolean`,
      }),
      {
        error: ({ code }) =>
          code === "invalid_key" ? `must have a name of ${METADATA_FIELD_RULE}` : undefined,
      },
    )
    .refine(
      (fields) => Object.keys(fields).length <= METADATA_FIELDS_MAX,
      `has over ${METADATA_FIELDS_MAX} fields`,
    ),
});

/** A document as a caller sent it. */
export interface DocumentInput {
  readonly id: string;
  /** Empty: what the document says, else its id. */
  readonly title: string;
  /** As in the header `Content-Type`, parameters included. */
  readonly contentType: string;
  readonly bytes: Uint8Array;
  readonly metadata: unknown;
}

/** A document that can be read. */
export interface CheckedDocument extends DocumentSource {
  readonly id: string;
  readonly metadata: Metadata;
  /** SHA-256 over all that makes this version. */
  readonly contentHash: string;
}

/** @throws ParleyError `invalid_argument`, also with reason `unsupported-media-type` or `body-too-large` */
export function checkDocument(input: DocumentInput): CheckedDocument {
  const { mediaType, charset } = readDocumentType(input.contentType);
  const { id, title, metadata } = validate(documentSchema, {
    id: input.id,
    title: input.title,
    metadata: input.metadata,
  });
  if (input.bytes.byteLength > DOCUMENT_BYTES_MAX) {
    throw new ParleyError(
      "invalid_argument",
      `the document is larger than ${DOCUMENT_BYTES_MAX} bytes; divide it into several`,
      { reason: "body-too-large", details: { bytesMax: DOCUMENT_BYTES_MAX } },
    );
  }
  const sorted = Object.entries(metadata).toSorted(([a], [b]) => (a < b ? -1 : 1));
  const about = JSON.stringify([mediaType, charset, title, sorted]);
  return {
    id,
    mediaType,
    charset,
    title: title.trim() === "" ? undefined : title,
    bytes: input.bytes,
    metadata: Object.fromEntries(sorted),
    contentHash: createHash("sha256").update(about).update("\0").update(input.bytes).digest("hex"),
  };
}

/** @throws ParleyError `invalid_argument` */
export function requireCollectionName(name: string): void {
  const violation: Violation = {
    field: "collection",
    description: "must be 1 to 64 of a-z 0-9 . _ -, beginning and ending with a letter or digit",
  };
  validate(z.unknown(), undefined, IDENTIFIER_PATTERN.test(name) ? [] : [violation]);
}
