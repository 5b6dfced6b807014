/**
 * `/api/v1/knowledge/{collection}`: the tenant's documents. The edge reads bodies up to their limit and hands them
 * on; what is in them is looked at by the backend.
 */
import { create, type JsonObject, type JsonValue, toJson } from "@bufbuild/protobuf";
import type { Context } from "hono";
import * as z from "zod";
import { validate } from "../../core/administration/violations.ts";
import { ParleyError } from "../../core/errors/parley-error.ts";
import { DOCUMENT_BYTES_MAX, DOCUMENTS_LISTED_MAX } from "../../core/knowledge/document-size.ts";
import { readDocumentType } from "../../core/knowledge/document-type.ts";
import { parseJson } from "../../core/messages/parse-json.ts";
import {
  DeleteCollectionRequestSchema,
  DeleteDocumentRequestSchema,
  type Document,
  DocumentInputSchema,
  DocumentSchema,
  GetDocumentRequestSchema,
  GetJobRequestSchema,
  type Job,
  JobSchema,
  ListDocumentsRequestSchema,
  PutDocumentRequestSchema,
  PutDocumentsRequestSchema,
  PutResultSchema,
  SearchRequestSchema,
  SearchResponseSchema,
} from "../../proto/gen/parley/v1/knowledge_service_pb.js";
import type { BackendCall } from "../backend/agent-backend.ts";
import { backendCall } from "./backend-call.ts";
import { callerAddress } from "./caller-address.ts";
import { readDocumentBatch } from "./document-batch.ts";
import type { EdgeEnv } from "./edge-env.ts";
import { readBytes } from "./read-body.ts";
import { readJsonBody, readQuery } from "./read-input.ts";

/** What is said of a document beside its body. */
export const documentPutQuerySchema = z.strictObject({
  title: z.string().max(200).optional().describe("Default: what the document says, else its id"),
  metadata: z
    .string()
    .max(20_000)
    .optional()
    .describe('JSON object of texts, numbers and booleans: {"year":2026}'),
});

/** What is wanted of a document. */
export const documentQuerySchema = z.strictObject({
  text: z.enum(["true", "false"]).optional().describe("Whether its text is wanted as well"),
});

/** Which page of a list. */
export const documentPageSchema = z.strictObject({
  cursor: z.string().max(512).optional().describe("`nextCursor` of the page before"),
  limit: z.coerce.number<string>().int().min(1).max(DOCUMENTS_LISTED_MAX).default(50),
});

const conditionSchema = z.looseObject({ field: z.string() });

/** What is searched for. */
export const searchBodySchema = z.strictObject({
  query: z.string().min(1).max(4_000),
  limit: z.int().min(1).max(50).default(10),
  filter: z
    .array(conditionSchema)
    .max(16)
    .default([])
    .describe(
      'All must hold: {"field":"year","equals":2026}, {"field":…,"in":[…]}, {"field":…,"range":{"gte":…}}',
    ),
});

/** Puts one document: 200 when it is indexed or was there already, 202 while that goes on. */
export async function putDocument(c: Context<EdgeEnv>): Promise<Response> {
  const contentType = c.req.header("content-type") ?? "";
  readDocumentType(contentType);
  const { title = "", metadata } = validate(documentPutQuerySchema, readQuery(c));
  const fields = metadata === undefined ? {} : metadataOf(metadata);
  const content = await readBytes(c.req.raw, { bytesMax: DOCUMENT_BYTES_MAX, signal: c.get("abort").signal });
  const document = create(DocumentInputSchema, {
    ...named(c),
    title,
    contentType,
    content,
    metadata: fields,
  });
  const request = create(PutDocumentRequestSchema, { ...named(c), document });
  const answer = await c.get("composition").knowledge.putDocument(request, callOf(c));
  const body = {
    ...(answer.document && { document: documentJson(answer.document) }),
    unchanged: answer.unchanged,
    ...(answer.job && { job: jobJson(answer.job) }),
  };
  return c.json(body, statusOf(answer.job));
}

/** Puts many: 200 or 202, with what became of each. */
export async function postDocuments(c: Context<EdgeEnv>): Promise<Response> {
  const documents = await readDocumentBatch(c);
  const request = create(PutDocumentsRequestSchema, { ...named(c), documents });
  const { results, job } = await c.get("composition").knowledge.putDocuments(request, callOf(c));
  const body = {
    results: results.map((result) => toJson(PutResultSchema, result)),
    ...(job && { job: jobJson(job) }),
  };
  return c.json(body, statusOf(job));
}

/** One document; with `?text=true` what is in it. */
export async function getDocument(c: Context<EdgeEnv>): Promise<Response> {
  const withText = validate(documentQuerySchema, readQuery(c)).text === "true";
  const request = create(GetDocumentRequestSchema, { ...named(c), withText });
  const { document, text } = await c.get("composition").knowledge.getDocument(request, callOf(c));
  return c.json({ ...(document && (documentJson(document) as JsonObject)), ...(withText && { text }) });
}

/** A page of documents. */
export async function listDocuments(c: Context<EdgeEnv>): Promise<Response> {
  const { cursor = "", limit } = validate(documentPageSchema, readQuery(c));
  const request = create(ListDocumentsRequestSchema, { ...named(c), cursor, limit });
  const { documents, nextCursor } = await c.get("composition").knowledge.listDocuments(request, callOf(c));
  return c.json({ documents: documents.map(documentJson), ...(nextCursor !== "" && { nextCursor }) });
}

/** Deletes one document: 204, or 202 while its chunks are being removed. */
export async function deleteDocument(c: Context<EdgeEnv>): Promise<Response> {
  const request = create(DeleteDocumentRequestSchema, named(c));
  return answerGone(c, (await c.get("composition").knowledge.deleteDocument(request, callOf(c))).job);
}

/** Deletes a collection: 204, or 202 while its chunks are being removed. */
export async function deleteCollection(c: Context<EdgeEnv>): Promise<Response> {
  const request = create(DeleteCollectionRequestSchema, named(c));
  return answerGone(c, (await c.get("composition").knowledge.deleteCollection(request, callOf(c))).job);
}

/** How far the work of a request has come. */
export async function getJob(c: Context<EdgeEnv>): Promise<Response> {
  const { collection, id: jobId } = named(c);
  const request = create(GetJobRequestSchema, { collection, jobId });
  const { job } = await c.get("composition").knowledge.getJob(request, callOf(c));
  return c.json(job ? jobJson(job) : {});
}

/** The passages that fit a question best, as an agent with this collection would be shown them. */
export async function searchDocuments(c: Context<EdgeEnv>): Promise<Response> {
  const { query, limit, filter } = validate(searchBodySchema, await readJsonBody(c));
  const { collection } = named(c);
  const request = create(SearchRequestSchema, { collection, query, limit, filter: filter as JsonObject[] });
  const found = await c.get("composition").knowledge.search(request, callOf(c));
  return c.json(toJson(SearchResponseSchema, found, { alwaysEmitImplicit: true }));
}

function answerGone(c: Context<EdgeEnv>, job: Job | undefined): Response {
  return statusOf(job) === 202 && job ? c.json({ job: jobJson(job) }, 202) : c.body(null, 204);
}

function named(c: Context<EdgeEnv>): { collection: string; id: string } {
  return { collection: c.req.param("collection") ?? "", id: c.req.param("id") ?? "" };
}

function callOf(c: Context<EdgeEnv>): BackendCall {
  return { ...backendCall(c), address: callerAddress(c) };
}

function statusOf(job: Job | undefined): 200 | 202 {
  return job && !job.finished ? 202 : 200;
}

function documentJson(document: Document): JsonValue {
  return toJson(DocumentSchema, document, { alwaysEmitImplicit: true });
}

function jobJson(job: Job): JsonValue {
  return toJson(JobSchema, job, { alwaysEmitImplicit: true });
}

function metadataOf(text: string): JsonObject {
  const value = parseJson(text, "the parameter metadata");
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value;
  throw new ParleyError("invalid_argument", 'metadata must be a JSON object, e.g. {"year":2026}');
}
