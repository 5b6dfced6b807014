/** A search on its own, for people and programs: what agents do before they answer, with an error where they go on. */
import * as z from "zod";
import { validate } from "../../core/administration/violations.ts";
import { ParleyError } from "../../core/errors/parley-error.ts";
import { requireCollectionName } from "./document-input.ts";
import type { Ingestion, IngestionCall } from "./ingestion.ts";
import { metadataFilterSchema } from "./metadata-filter.ts";
import type { PassageRetriever, Retrieval } from "./passage-retriever.ts";

const PASSAGES_DEFAULT = 10;
/** By then a breaker has found out whether the index is back. */
const RETRY_AFTER_MS = 5_000;

const filterSchema = z.object({ filter: metadataFilterSchema });

/** What is asked; nothing of it but the shape has been looked at. */
export interface SearchInput {
  readonly collection: string;
  readonly query: string;
  /** 0: ten. */
  readonly limit: number;
  readonly filter: readonly unknown[];
}

/** What searches work with. */
export interface SearchParts {
  readonly search: PassageRetriever;
  readonly ingestion: Pick<Ingestion, "requireCollection">;
}

/**
 * @throws ParleyError `invalid_argument`; `not_found` when there is no such collection; `unavailable` when the index
 * cannot be asked
 */
export async function searchCollection(
  { search, ingestion }: SearchParts,
  { collection, query, limit, filter: given }: SearchInput,
  call: IngestionCall,
): Promise<Retrieval> {
  requireCollectionName(collection);
  const { filter } = validate(filterSchema, { filter: given });
  const passagesMax = limit || PASSAGES_DEFAULT;
  const { tenantId } = call.actor;
  const retrieval = await search.retrieve({ tenantId, collection, query, passagesMax, filter }, call.signal);
  if (retrieval.state !== "unavailable") {
    // Agents go on without a collection; whoever searches by hand may have mistyped its name.
    if (retrieval.passages.length === 0) await ingestion.requireCollection(collection, call);
    return retrieval;
  }
  throw new ParleyError("unavailable", "the collection cannot be searched at the moment; try again later", {
    reason: "index-unavailable",
    retryable: true,
    retryAfterMs: RETRY_AFTER_MS,
  });
}
