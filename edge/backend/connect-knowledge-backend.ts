/** The backend's documents over Connect, on the same addresses as its agents. */
import { type CallOptions, createClient } from "@connectrpc/connect";
import {
  type DeleteCollectionRequest,
  type DeleteDocumentRequest,
  type GetDocumentRequest,
  type GetJobRequest,
  KnowledgeService,
  type ListDocumentsRequest,
  type PutDocumentRequest,
  type PutDocumentsRequest,
  type SearchRequest,
} from "../../proto/gen/parley/v1/knowledge_service_pb.js";
import type { BackendCall } from "./agent-backend.ts";
import { answerOf, type BackendAddress } from "./backend-address.ts";
import { createCallOptions, type MakeCallOptions } from "./call-options.ts";
import type { ConnectAgentBackendOptions } from "./connect-agent-backend.ts";
import type { KnowledgeBackend } from "./knowledge-backend.ts";
import { tryAddresses } from "./try-addresses.ts";

type Knowledge = BackendAddress["knowledge"];

/** See {@link KnowledgeBackend}. */
export class ConnectKnowledgeBackend implements KnowledgeBackend {
  readonly #options: ConnectAgentBackendOptions;
  readonly #callOptions: MakeCallOptions;

  constructor(options: ConnectAgentBackendOptions) {
    this.#options = options;
    this.#callOptions = createCallOptions(options.tokenSecret, options.now);
  }

  putDocument(request: PutDocumentRequest, call: BackendCall) {
    return this.#answer(call, (knowledge, options) => knowledge.putDocument(request, options));
  }

  putDocuments(request: PutDocumentsRequest, call: BackendCall) {
    return this.#answer(call, (knowledge, options) => knowledge.putDocuments(request, options));
  }

  getDocument(request: GetDocumentRequest, call: BackendCall) {
    return this.#answer(call, (knowledge, options) => knowledge.getDocument(request, options));
  }

  listDocuments(request: ListDocumentsRequest, call: BackendCall) {
    return this.#answer(call, (knowledge, options) => knowledge.listDocuments(request, options));
  }

  deleteDocument(request: DeleteDocumentRequest, call: BackendCall) {
    return this.#answer(call, (knowledge, options) => knowledge.deleteDocument(request, options));
  }

  deleteCollection(request: DeleteCollectionRequest, call: BackendCall) {
    return this.#answer(call, (knowledge, options) => knowledge.deleteCollection(request, options));
  }

  getJob(request: GetJobRequest, call: BackendCall) {
    return this.#answer(call, (knowledge, options) => knowledge.getJob(request, options));
  }

  search(request: SearchRequest, call: BackendCall) {
    return this.#answer(call, (knowledge, options) => knowledge.search(request, options));
  }

  #answer<Result>(
    call: BackendCall,
    run: (knowledge: Knowledge, options: CallOptions) => Promise<Result>,
  ): Promise<Result> {
    const { pool, random, now } = this.#options;
    return tryAddresses({
      ...{ pool, random, now, call },
      run: (address) =>
        answerOf(
          address,
          (signal) => this.#callOptions(call, AbortSignal.any([call.signal, signal])),
          (options) => run(address.knowledge, options),
        ),
    });
  }
}

/** The client of an address, for {@link BackendAddress}. */
export function createKnowledgeClient(transport: Parameters<typeof createClient>[1]): Knowledge {
  return createClient(KnowledgeService, transport);
}
