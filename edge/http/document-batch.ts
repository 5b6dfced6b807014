/** The body of a bulk request: documents as a JSON array, or one a line as NDJSON. */
import { create, type JsonObject } from "@bufbuild/protobuf";
import type { Context } from "hono";
import * as z from "zod";
import { type Violation, validate } from "../../core/administration/violations.ts";
import { ParleyError } from "../../core/errors/parley-error.ts";
import { BULK_BYTES_MAX, BULK_DOCUMENTS_MAX } from "../../core/knowledge/document-size.ts";
import { parseJson } from "../../core/messages/parse-json.ts";
import { type DocumentInput, DocumentInputSchema } from "../../proto/gen/parley/v1/knowledge_service_pb.js";
import type { EdgeEnv } from "./edge-env.ts";
import { readBytes, readJsonText } from "./read-body.ts";

const NDJSON = /^application\/(?:x-)?(?:ndjson|jsonl|jsonlines)\s*(?:$|;)/i;

/** One document of many; metadata and ids are looked at with each document. */
export const batchDocumentSchema = z.strictObject({
  id: z.string(),
  mediaType: z
    .string()
    .describe("As in `Content-Type`: text/plain, text/markdown, text/html or application/pdf"),
  title: z.string().max(200).optional(),
  text: z.string().optional().describe("The content, of text; this or contentBase64"),
  contentBase64: z.string().optional().describe("The content as it is, for PDF; this or text"),
  metadata: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])).optional(),
});

/** All of them. */
export const batchSchema = z.array(batchDocumentSchema).min(1).max(BULK_DOCUMENTS_MAX);

/** @throws ParleyError `invalid_argument` that names every document that is not in form */
export async function readDocumentBatch(c: Context<EdgeEnv>): Promise<DocumentInput[]> {
  const options = { bytesMax: BULK_BYTES_MAX, signal: c.get("abort").signal };
  const isLines = NDJSON.test(c.req.header("content-type") ?? "");
  const input = isLines
    ? parseLines(decode(await readBytes(c.req.raw, options)))
    : parseJson(await readJsonText(c.req.raw, options));
  return validate(batchSchema, input, contentViolations(input)).map(documentInput);
}

function parseLines(text: string): unknown[] {
  const lines = text.split("\n").filter((line) => line.trim() !== "");
  return lines.slice(0, BULK_DOCUMENTS_MAX + 1).map((line, index) => {
    try {
      return parseJson(line);
    } catch (cause) {
      throw new ParleyError("invalid_argument", `document ${index + 1} is not a line of JSON`, { cause });
    }
  });
}

function decode(bytes: Uint8Array<ArrayBuffer>): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new ParleyError("invalid_argument", "the body is not UTF-8 text", { cause });
  }
}

function contentViolations(input: unknown): Violation[] {
  if (!Array.isArray(input)) return [];
  return input.flatMap((document, index) => {
    const { text, contentBase64 } = (document ?? {}) as { text?: unknown; contentBase64?: unknown };
    if ((text === undefined) === (contentBase64 === undefined)) {
      return [{ field: `${index}`, description: "must have either text or contentBase64" }];
    }
    const isBroken = typeof contentBase64 === "string" && fromBase64(contentBase64) === undefined;
    return isBroken ? [{ field: `${index}.contentBase64`, description: "is not base64" }] : [];
  });
}

function documentInput(document: z.output<typeof batchDocumentSchema>): DocumentInput {
  const { id, mediaType, title = "", text, contentBase64 = "", metadata = {} } = document;
  return create(DocumentInputSchema, {
    ...{ id, title, metadata: metadata as JsonObject },
    // Text has been decoded by now, whatever it was encoded in before.
    contentType: text === undefined ? mediaType : `${mediaType.split(";")[0]}; charset=utf-8`,
    content:
      text === undefined ? (fromBase64(contentBase64) ?? new Uint8Array()) : new TextEncoder().encode(text),
  });
}

function fromBase64(text: string): Uint8Array<ArrayBuffer> | undefined {
  try {
    return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  } catch {
    return undefined;
  }
}
