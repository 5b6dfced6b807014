/** KnowledgeService on the wire: scopes, limits and shapes; what is done is ingestion's part. */
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import type { Scope } from "../../core/auth/principal.ts";
import { requireScope } from "../../core/auth/require-scope.ts";
import {
  type Document,
  type DocumentInput as DocumentInputMessage,
  DocumentInputSchema,
  DocumentSchema,
  type Job,
  JobSchema,
  type KnowledgeService,
  ListDocumentsRequestSchema,
  PutDocumentRequestSchema,
  PutDocumentsRequestSchema,
  SearchRequestSchema,
} from "../../proto/gen/parley/v1/knowledge_service_pb.js";
import type { DocumentInput } from "../knowledge/document-input.ts";
import type { Ingestion, IngestionCall } from "../knowledge/ingestion.ts";
import type { PassageRetriever } from "../knowledge/passage-retriever.ts";
import { searchCollection } from "../knowledge/search-collection.ts";
import type { JobProgress, StoredDocument } from "../knowledge/stored-document.ts";
import type { CallLimits } from "../limits/call-limits.ts";
import { principalOf } from "./caller.ts";
import { decodeCursor, encodeCursor } from "./list-cursor.ts";
import type { Validate } from "./validate.ts";

/** What the service works with. */
export interface KnowledgeServiceOptions {
  ingestion: Ingestion;
  search: PassageRetriever;
  limits: CallLimits;
  validate: Validate;
}

const LIST_LIMIT_DEFAULT = 50;

/** Makes the handlers of KnowledgeService. */
export function createKnowledgeService({
  ingestion,
  search,
  limits,
  validate,
}: KnowledgeServiceOptions): ServiceImpl<typeof KnowledgeService> {
  const admit = async (context: HandlerContext, scope: Scope): Promise<IngestionCall> => {
    const caller = principalOf(context);
    requireScope(caller.principal, scope);
    await limits.countRequest(caller);
    const { tenantId, subject, scopes, keyId } = caller.principal;
    const { requestId, address } = caller;
    return { actor: { tenantId, subject, scopes, keyId, requestId, address }, signal: context.signal };
  };

  return {
    async putDocument(request, context) {
      const call = await admit(context, "knowledge:write");
      validate(PutDocumentRequestSchema, request);
      const input = documentInput(request.document ?? create(DocumentInputSchema));
      const { outcome, job } = await ingestion.put(request.collection, input, call);
      return {
        unchanged: outcome.status === "unchanged",
        ...(outcome.document && { document: documentMessage(outcome.document) }),
        ...(job && { job: jobMessage(job) }),
      };
    },

    async putDocuments(request, context) {
      const call = await admit(context, "knowledge:write");
      validate(PutDocumentsRequestSchema, request);
      const inputs = request.documents.map(documentInput);
      const { outcomes, job } = await ingestion.putMany(request.collection, inputs, call);
      return {
        results: outcomes.map(({ id, status, error }) => ({
          id,
          status,
          reason: error?.reason ?? error?.code ?? "",
          message: error?.message ?? "",
        })),
        ...(job && { job: jobMessage(job) }),
      };
    },

    async getDocument({ collection, id, withText }, context) {
      const call = await admit(context, "knowledge:read");
      const document = documentMessage(await ingestion.get(collection, id, call));
      return { document, text: withText ? await ingestion.getText(collection, id, call) : "" };
    },

    async listDocuments(request, context) {
      const call = await admit(context, "knowledge:read");
      validate(ListDocumentsRequestSchema, request);
      const limit = request.limit || LIST_LIMIT_DEFAULT;
      const page = { after: decodeCursor(request.cursor), limit };
      const documents = await ingestion.list(request.collection, page, call);
      const last = documents.length === limit ? documents.at(-1) : undefined;
      return { documents: documents.map(documentMessage), nextCursor: last ? encodeCursor(last.id) : "" };
    },

    async deleteDocument({ collection, id }, context) {
      const call = await admit(context, "knowledge:write");
      return { job: jobMessage(await ingestion.delete(collection, id, call)) };
    },

    async deleteCollection({ collection }, context) {
      const call = await admit(context, "knowledge:write");
      return { job: jobMessage(await ingestion.deleteCollection(collection, call)) };
    },

    async getJob({ collection, jobId }, context) {
      const call = await admit(context, "knowledge:read");
      return { job: jobMessage(await ingestion.getJob(collection, jobId, call)) };
    },

    async search(request, context) {
      const call = await admit(context, "knowledge:read");
      validate(SearchRequestSchema, request);
      const { passages, state } = await searchCollection({ search, ingestion }, request, call);
      return {
        state,
        passages: passages.map(({ headings, metadata, ...passage }) => ({
          ...passage,
          headings: [...headings],
          metadata: { ...metadata },
        })),
      };
    },
  };
}

function documentInput({ id, title, contentType, content, metadata }: DocumentInputMessage): DocumentInput {
  return { id, title, contentType, bytes: content, metadata: metadata ?? {} };
}

function documentMessage(document: StoredDocument): Document {
  const { id, collection, title, mediaType, contentHash, sizeBytes, state, error, chunksCount } = document;
  return create(DocumentSchema, {
    ...{ id, collection, title, mediaType, contentHash, sizeBytes, state, chunksCount },
    error: error ?? "",
    metadata: { ...document.metadata },
    createdAt: timestampFromMs(document.createdAtMs),
    updatedAt: timestampFromMs(document.updatedAtMs),
  });
}

function jobMessage(job: JobProgress): Job {
  const { jobId, collection, total, done, failed, problems, createdAtMs, finishedAtMs } = job;
  return create(JobSchema, {
    ...{ id: jobId, collection, total, done, failed },
    finished: finishedAtMs !== undefined,
    problems: problems.map((problem) => ({ ...problem })),
    createdAt: timestampFromMs(createdAtMs),
    ...(finishedAtMs !== undefined && { finishedAt: timestampFromMs(finishedAtMs) }),
  });
}
