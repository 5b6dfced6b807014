/** What `/openapi.json` says of the routes of knowledge. */
import * as z from "zod";
import { DOCUMENT_MEDIA_TYPES } from "../../core/knowledge/document-type.ts";
import { batchSchema } from "../http/document-batch.ts";
import {
  documentPageSchema,
  documentPutQuerySchema,
  documentQuerySchema,
  searchBodySchema,
} from "../http/knowledge-routes.ts";
import type { Answer, Operation } from "../http/route.ts";

const count = z.int();
const documentSchema = z.object({
  id: z.string(),
  collection: z.string(),
  title: z.string(),
  mediaType: z.string(),
  contentHash: z.string(),
  sizeBytes: count,
  metadata: z.looseObject({}).optional(),
  state: z.enum(["pending", "words-only", "ready", "failed"]),
  error: z.string(),
  chunksCount: count,
  createdAt: z.iso.datetime(),
  updatedAt: z.iso.datetime(),
});
const jobSchema = z.object({
  id: z.string(),
  collection: z.string(),
  total: count,
  done: count,
  failed: count,
  finished: z.boolean(),
  problems: z.array(z.object({ documentId: z.string(), message: z.string() })),
  createdAt: z.iso.datetime(),
  finishedAt: z.iso.datetime().optional(),
});
const withJob = z.object({ job: jobSchema });
const putSchema = z.object({
  document: documentSchema,
  unchanged: z.boolean(),
  job: jobSchema.optional(),
});
const resultsSchema = z.object({
  results: z.array(
    z.object({
      id: z.string().optional(),
      status: z.enum(["queued", "unchanged", "refused"]),
      reason: z.string().optional(),
      message: z.string().optional(),
    }),
  ),
  job: jobSchema.optional(),
});

const goneOrUnderWay: Record<number, Answer> = {
  204: { description: "Done" },
  202: { description: "Deleted; its chunks are being removed", schema: withJob },
};

export const putDocument: Operation = {
  id: "putDocument",
  summary: `Put or replace a document: ${DOCUMENT_MEDIA_TYPES.join(", ")}; at most 16 MiB`,
  query: documentPutQuerySchema,
  body: { schema: z.string(), mediaType: "*/*" },
  answers: {
    200: { description: "It is indexed, or was there already", schema: putSchema },
    202: { description: "It is taken and being indexed; see the job", schema: putSchema },
  },
};

export const postDocuments: Operation = {
  id: "putDocuments",
  summary: "Put up to 500 documents, as a JSON array or one a line (application/x-ndjson); at most 8 MiB",
  body: { schema: batchSchema },
  answers: {
    200: { description: "What became of each; all work is done", schema: resultsSchema },
    202: { description: "What became of each; see the job for the rest", schema: resultsSchema },
  },
};

export const getDocument: Operation = {
  id: "getDocument",
  summary: "One document, and with `text=true` what is in it",
  query: documentQuerySchema,
  answers: {
    200: { description: "The document", schema: documentSchema.extend({ text: z.string().optional() }) },
  },
};

export const listDocuments: Operation = {
  id: "listDocuments",
  summary: "The documents of a collection; `not_found` when there is no such collection",
  query: documentPageSchema,
  answers: {
    200: {
      description: "A page of documents, by id",
      schema: z.object({ documents: z.array(documentSchema), nextCursor: z.string().optional() }),
    },
  },
};

export const deleteDocument: Operation = {
  id: "deleteDocument",
  summary: "Delete a document and all of its chunks",
  answers: goneOrUnderWay,
};

export const deleteCollection: Operation = {
  id: "deleteCollection",
  summary: "Delete a collection with all of its documents",
  answers: goneOrUnderWay,
};

export const getJob: Operation = {
  id: "getJob",
  summary: "How far the work of a request has come",
  answers: { 200: { description: "The job", schema: jobSchema } },
};

export const searchDocuments: Operation = {
  id: "searchDocuments",
  summary:
    "The passages of a collection that fit a question best, with their places in the documents; `not_found` when there is no such collection",
  body: { schema: searchBodySchema },
  answers: {
    200: {
      description: "Passages, best first; none when nothing in the collection is relevant",
      schema: z.object({
        passages: z.array(
          z.object({
            documentId: z.string(),
            title: z.string(),
            headings: z.array(z.string()),
            text: z.string(),
            start: count,
            end: count,
            score: z.number(),
            metadata: z.looseObject({}).optional(),
          }),
        ),
        state: z.enum(["complete", "words-only"]),
      }),
    },
  },
};
