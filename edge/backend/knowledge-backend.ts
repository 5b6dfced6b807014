/** The port to the backend's documents: each call is for the caller's tenant, and may be made again when it broke. */
import type {
  DeleteCollectionRequest,
  DeleteCollectionResponse,
  DeleteDocumentRequest,
  DeleteDocumentResponse,
  GetDocumentRequest,
  GetDocumentResponse,
  GetJobRequest,
  GetJobResponse,
  ListDocumentsRequest,
  ListDocumentsResponse,
  PutDocumentRequest,
  PutDocumentResponse,
  PutDocumentsRequest,
  PutDocumentsResponse,
  SearchRequest,
  SearchResponse,
} from "../../proto/gen/parley/v1/knowledge_service_pb.js";
import type { BackendCall } from "./agent-backend.ts";

/** The calls of KnowledgeService that answer requests. All failures are ParleyError. */
export interface KnowledgeBackend {
  putDocument(request: PutDocumentRequest, call: BackendCall): Promise<PutDocumentResponse>;
  putDocuments(request: PutDocumentsRequest, call: BackendCall): Promise<PutDocumentsResponse>;
  getDocument(request: GetDocumentRequest, call: BackendCall): Promise<GetDocumentResponse>;
  listDocuments(request: ListDocumentsRequest, call: BackendCall): Promise<ListDocumentsResponse>;
  deleteDocument(request: DeleteDocumentRequest, call: BackendCall): Promise<DeleteDocumentResponse>;
  deleteCollection(request: DeleteCollectionRequest, call: BackendCall): Promise<DeleteCollectionResponse>;
  getJob(request: GetJobRequest, call: BackendCall): Promise<GetJobResponse>;
  search(request: SearchRequest, call: BackendCall): Promise<SearchResponse>;
}
