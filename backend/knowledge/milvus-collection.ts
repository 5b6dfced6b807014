/** What a Milvus collection of chunks looks like, and how a chunk becomes a row of it and a row a chunk again. */
import type { CreateCollectionReq, DataType, FunctionType } from "@zilliz/milvus2-sdk-node";
import { storableJson } from "../stores/storable-json.ts";
import type { Chunk, EmbeddedChunk } from "./chunk.ts";
import { chunkTerms } from "./lexical-terms.ts";
import { type FilterFields, filterFields, hash } from "./milvus-filter.ts";
import { type IndexScope, scopeName } from "./vector-index.ts";

/** All collections of Parley's; the rest of the name is the dimension, which a Milvus field fixes. */
export const COLLECTION_PATTERN = /^parley_chunks_(\d{1,4})$/;
/** Tenants are spread over these; a search looks into its tenant's alone. */
const PARTITIONS = 64;
/** The most that a VARCHAR field of Milvus takes, bytes. */
const TEXT_BYTES_MAX = 65_535;
const HASH_BYTES_MAX = 64;
/** Fields of metadata: an ARRAY needs a bound. */
const FACETS_MAX = 64;

/** The fields that a search brings back. */
export const OUTPUT_FIELDS = ["text", "rest"];

/** A row without its vector of words, which Milvus makes of `terms`. */
export interface ChunkRow extends FilterFields {
  readonly id: string;
  readonly tenant: string;
  readonly owner: string;
  readonly scope: string;
  readonly document: string;
  readonly version: string;
  readonly text: string;
  readonly rest: Omit<Chunk, "text">;
  readonly terms: string;
  readonly embedded: boolean;
  readonly dense: number[];
}

/** The name of the collection for vectors of this length. */
export function collectionName(dimension: number): string {
  return `parley_chunks_${dimension}`;
}

/** How the collection is made. */
export function collectionSchema(
  dimension: number,
  { DataType: Type, FunctionType: Fn }: { DataType: typeof DataType; FunctionType: typeof FunctionType },
): CreateCollectionReq {
  const hashField = (name: string) => ({ name, data_type: Type.VarChar, max_length: HASH_BYTES_MAX });
  const textField = (name: string) => ({ name, data_type: Type.VarChar, max_length: TEXT_BYTES_MAX });
  return {
    collection_name: collectionName(dimension),
    description: "Chunks of documents (Parley)",
    num_partitions: PARTITIONS,
    consistency_level: "Bounded",
    fields: [
      { ...hashField("id"), is_primary_key: true },
      { ...hashField("tenant"), is_partition_key: true },
      hashField("owner"),
      hashField("scope"),
      hashField("document"),
      hashField("version"),
      {
        ...hashField("facets"),
        data_type: Type.Array,
        element_type: Type.VarChar,
        max_capacity: FACETS_MAX,
      },
      { name: "numbers", data_type: Type.JSON },
      { name: "texts", data_type: Type.JSON },
      textField("text"),
      { name: "rest", data_type: Type.JSON },
      // Our terms are words already: of the analyzers this one leaves them alone, and Milvus Lite has it too.
      { ...textField("terms"), enable_analyzer: true, analyzer_params: { type: "standard" } },
      { name: "embedded", data_type: Type.Bool },
      { name: "dense", data_type: Type.FloatVector, dim: dimension },
      { name: "sparse", data_type: Type.SparseFloatVector, is_function_output: true },
    ],
    functions: [
      {
        name: "bm25",
        type: Fn.BM25,
        input_field_names: ["terms"],
        output_field_names: ["sparse"],
        params: {},
      },
    ],
  };
}

/** The indexes of both vectors. */
export function collectionIndexes(dimension: number) {
  const collection_name = collectionName(dimension);
  return [
    {
      collection_name,
      field_name: "dense",
      index_type: "HNSW",
      metric_type: "COSINE",
      params: { M: 16, efConstruction: 200 },
    },
    { collection_name, field_name: "sparse", index_type: "SPARSE_INVERTED_INDEX", metric_type: "BM25" },
  ];
}

/** The hash that stands for a tenant in rows and expressions. */
export function tenantKey(tenantId: string): string {
  return hash(tenantId);
}

/** The hash that stands for a collection of a tenant's, all its generations. */
export function ownerKey({ tenantId, collection }: Pick<IndexScope, "tenantId" | "collection">): string {
  return hash(scopeName({ tenantId, collection }));
}

/** The hash that stands for a scope. */
export function scopeKey(scope: IndexScope): string {
  return hash(scopeName(scope));
}

/** A chunk as a row; a chunk without a vector gets one that no search looks at. */
export function toRow(scope: IndexScope, chunk: EmbeddedChunk, version: string, dimension: number): ChunkRow {
  const { embedding, ...rest } = chunk;
  const { text, ...stored }: Chunk = JSON.parse(storableJson(rest));
  const key = scopeKey(scope);
  return {
    ...filterFields(chunk.metadata),
    id: hash(key + chunk.chunkId),
    tenant: tenantKey(scope.tenantId),
    owner: ownerKey(scope),
    scope: key,
    document: hash(chunk.documentId),
    version,
    text: cutToBytes(text),
    rest: stored,
    terms: cutToBytes(chunkTerms(chunk)),
    embedded: embedding !== undefined,
    dense: embedding
      ? Array.from(embedding)
      : Array.from({ length: dimension }, (_, at) => (at === 0 ? 1 : 0)),
  };
}

/** The chunk of a row that a search brought back. */
export function toChunk(row: { readonly text: string; readonly rest: Omit<Chunk, "text"> }): Chunk {
  return { ...row.rest, text: row.text };
}

/** Not within a character; chunks are far shorter (CHUNK_CHARACTERS_MAX), their terms may not be. */
function cutToBytes(text: string): string {
  const bytes = Buffer.from(text, "utf8");
  if (bytes.length <= TEXT_BYTES_MAX) return text;
  return new TextDecoder().decode(bytes.subarray(0, TEXT_BYTES_MAX), { stream: true });
}
