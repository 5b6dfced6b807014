/**
 * The index of chunks in Milvus: one Milvus collection for each length of vectors, tenants apart by partition key,
 * scopes by a filter. Dense search by HNSW, words by Milvus's BM25 function, whose idf counts all chunks of a segment.
 */
import { checkChunks, checkDimension, checkLimit } from "./check-index-input.ts";
import type { Chunk, EmbeddedChunk } from "./chunk.ts";
import { queryTerms } from "./lexical-terms.ts";
import {
  COLLECTION_PATTERN,
  collectionIndexes,
  collectionName,
  collectionSchema,
  OUTPUT_FIELDS,
  ownerKey,
  scopeKey,
  tenantKey,
  toChunk,
  toRow,
} from "./milvus-collection.ts";
import { type MilvusCall, type MilvusConnection, WORK_TIMEOUT_MS } from "./milvus-connection.ts";
import { filterExpression, hash } from "./milvus-filter.ts";
import { MilvusLite } from "./milvus-lite.ts";
import type { Candidate, IndexQuery, IndexScope, ScopeSelection, VectorIndex } from "./vector-index.ts";

/** Rows of one call. The SDK writes every request as JSON to itself: of 1,000 rows it would block for 150 ms. */
const BATCH_ROWS = 100;
/** Collections are made by other backends, too; they are looked for again after this time. */
const COLLECTIONS_FRESH_MS = 10_000;
/** Nodes of the graph that are looked at: recall 0.97 and more. */
const HNSW_EF = 128;

/** What the index works with. */
export interface MilvusVectorIndexOptions {
  readonly connection: MilvusConnection;
  /** Milliseconds that only grow. */
  readonly now: () => number;
  /**
   * `Bounded`: a search may miss what was stored in the last seconds; `Strong` waits for it. Milvus Lite, which is
   * one process, is always strong. Default `Bounded`.
   */
  readonly consistency?: "Bounded" | "Strong";
}

type Way = "dense" | "lexical";
type Found = readonly { readonly score: number; readonly text: string; readonly rest: Omit<Chunk, "text"> }[];

/** {@link VectorIndex} in Milvus. */
export class MilvusVectorIndex implements VectorIndex {
  readonly #connection: MilvusConnection;
  readonly #now: () => number;
  readonly #consistency: "Bounded" | "Strong";
  /** Dimensions whose collections this process has seen loaded. */
  readonly #loaded = new Set<number>();
  readonly #lite: MilvusLite;
  #known: { dimensions: readonly number[]; atMs: number } | undefined;

  constructor({ connection, now, consistency = "Bounded" }: MilvusVectorIndexOptions) {
    this.#connection = connection;
    this.#now = now;
    this.#consistency = consistency;
    this.#lite = new MilvusLite({ connection, now });
  }

  async prepare(_scope: IndexScope, dimension: number, signal: AbortSignal): Promise<void> {
    checkDimension(dimension);
    if (!(await this.#dimensions(signal)).includes(dimension)) await this.#create(dimension, signal);
    await this.#load(dimension, signal);
  }

  async replaceDocument(
    scope: IndexScope,
    documentId: string,
    chunks: readonly EmbeddedChunk[],
    signal: AbortSignal,
  ): Promise<void> {
    checkChunks(documentId, chunks);
    if (chunks.length === 0) return this.deleteDocument(scope, documentId, signal);
    const version = hash(chunks.map(({ chunkId }) => chunkId).join());
    const dimensions = await this.#dimensions(signal);
    const dimension = chunks.find(({ embedding }) => embedding)?.embedding?.length ?? dimensions[0];
    if (dimension === undefined) await this.prepare(scope, 1, signal);
    const collection_name = collectionName(dimension ?? 1);
    for (let start = 0; start < chunks.length; start += BATCH_ROWS) {
      const batch = chunks.slice(start, start + BATCH_ROWS);
      const data = batch.map((chunk) => ({ ...toRow(scope, chunk, version, dimension ?? 1) }));
      await this.#call(
        (client, timeout) => client.upsert({ collection_name, data, timeout }),
        signal,
        WORK_TIMEOUT_MS,
      );
      this.#lite.noteWritten(dimension ?? 1, batch.length);
    }
    const old = `${this.#documentFilter(scope, documentId)} and version != "${version}"`;
    for (const each of dimensions) {
      await this.#delete(each, each === dimension ? old : this.#documentFilter(scope, documentId), signal);
      await this.#lite.flushMany(each);
    }
  }

  async deleteDocument(scope: IndexScope, documentId: string, signal: AbortSignal): Promise<void> {
    for (const dimension of await this.#dimensions(signal)) {
      await this.#delete(dimension, this.#documentFilter(scope, documentId), signal);
    }
  }

  async dropScope({ tenantId, collection, generation }: ScopeSelection, signal: AbortSignal): Promise<void> {
    const what =
      generation === undefined
        ? `tenant == "${tenantKey(tenantId)}" and owner == "${ownerKey({ tenantId, collection })}"`
        : scopeFilter({ tenantId, collection, generation });
    for (const dimension of await this.#dimensions(signal)) await this.#delete(dimension, what, signal);
  }

  async countChunks(scope: IndexScope, signal: AbortSignal): Promise<number> {
    const counts = (await this.#dimensions(signal)).map(async (dimension) => {
      await this.#load(dimension, signal);
      const { data } = await this.#call(
        (client, timeout, sdk) =>
          client.query({
            collection_name: collectionName(dimension),
            filter: scopeFilter(scope),
            output_fields: ["count(*)"],
            // Whoever asks decides by it whether a collection has to be built anew.
            consistency_level: sdk.ConsistencyLevelEnum.Strong,
            timeout,
          }),
        signal,
        WORK_TIMEOUT_MS,
      );
      return Number(data[0]?.["count(*)"] ?? 0);
    });
    return (await Promise.all(counts)).reduce((sum, count) => sum + count, 0);
  }

  async search(query: IndexQuery, signal: AbortSignal): Promise<Candidate[]> {
    checkLimit(query);
    const { embedding } = query;
    const terms = queryTerms(query.query).join(" ");
    const dimensions = await this.#dimensions(signal);
    const filter = `${scopeFilter(query.scope)}${filterExpression(query.filter)}`;
    const searches: Promise<[Way, Found]>[] = [];
    if (embedding && dimensions.includes(embedding.length)) {
      const dense = { ...query, filter: `${filter} and embedded == true`, data: Array.from(embedding) };
      searches.push(this.#searchOne("dense", embedding.length, dense, signal));
    }
    for (const dimension of terms === "" ? [] : dimensions) {
      searches.push(this.#searchOne("lexical", dimension, { ...query, filter, data: terms }, signal));
    }
    return mergeWays(await Promise.all(searches), query.limit);
  }

  /** `metric_type` always: without it Milvus Lite gives distances for similarities, or fails. */
  async #searchOne(
    way: Way,
    dimension: number,
    { data, filter, limit }: { data: number[] | string; filter: string; limit: number },
    signal: AbortSignal,
  ): Promise<[Way, Found]> {
    await this.#load(dimension, signal);
    await this.#lite.flushOld(dimension);
    const field =
      way === "dense"
        ? { anns_field: "dense", metric_type: "COSINE", params: { ef: Math.max(HNSW_EF, limit) } }
        : { anns_field: "sparse", metric_type: "BM25" };
    const { results } = await this.#call(
      (client, timeout, sdk) =>
        client.search({
          ...field,
          collection_name: collectionName(dimension),
          data: [data] as number[][] | string[],
          filter,
          limit,
          output_fields: OUTPUT_FIELDS,
          consistency_level: sdk.ConsistencyLevelEnum[this.#consistency],
          timeout,
        }),
      signal,
    );
    return [way, results as unknown as Found];
  }

  async #delete(dimension: number, filter: string, signal: AbortSignal): Promise<void> {
    await this.#load(dimension, signal);
    const { delete_cnt: deleted } = await this.#call(
      (client, timeout) =>
        client.delete({
          collection_name: collectionName(dimension),
          filter,
          consistency_level: "Strong",
          timeout,
        }),
      signal,
      WORK_TIMEOUT_MS,
    );
    this.#lite.noteWritten(dimension, Number(deleted));
  }

  #documentFilter(scope: IndexScope, documentId: string): string {
    return `${scopeFilter(scope)} and document == "${hash(documentId)}"`;
  }

  /** The dimensions that there are collections for. */
  async #dimensions(signal: AbortSignal): Promise<readonly number[]> {
    const nowMs = this.#now();
    if (this.#known && nowMs - this.#known.atMs < COLLECTIONS_FRESH_MS) return this.#known.dimensions;
    const { data } = await this.#call((client, timeout) => client.showCollections({ timeout }), signal);
    const dimensions = data.flatMap(({ name }) => {
      const dimension = COLLECTION_PATTERN.exec(name)?.[1];
      return dimension === undefined ? [] : [Number(dimension)];
    });
    this.#known = { dimensions, atMs: nowMs };
    return dimensions;
  }

  /** Another backend may do it at the same time: what counts is that the collection is there afterwards. */
  async #create(dimension: number, signal: AbortSignal): Promise<void> {
    const attempt = this.#call(
      (client, timeout, sdk) => client.createCollection({ ...collectionSchema(dimension, sdk), timeout }),
      signal,
    );
    const failure = await attempt.then(
      () => undefined,
      (error: unknown) => ({ error }),
    );
    this.#known = undefined;
    if (failure && !(await this.#dimensions(signal)).includes(dimension)) throw failure.error;
  }

  /** After a failure nothing is taken for loaded: a server that was started anew has loaded nothing. */
  async #call<T extends object>(make: MilvusCall<T>, signal: AbortSignal, timeoutMs?: number): Promise<T> {
    try {
      return await this.#lite.beside(() => this.#connection.call(make, signal, timeoutMs), signal);
    } catch (error) {
      this.#loaded.clear();
      throw error;
    }
  }

  /** An index that is there already is refused; a missing one makes loading fail, which says so. */
  async #load(dimension: number, signal: AbortSignal): Promise<void> {
    if (this.#loaded.has(dimension)) return;
    for (const index of collectionIndexes(dimension)) {
      await this.#connection
        .call((client, timeout) => client.createIndex([{ ...index, timeout }]), signal)
        .catch(() => undefined);
    }
    await this.#call(
      (client, timeout) => client.loadCollectionSync({ collection_name: collectionName(dimension), timeout }),
      signal,
    );
    this.#loaded.add(dimension);
    const { version } = await this.#call((client) => client.getVersion(), signal);
    this.#lite.noteLoaded(dimension, version);
  }
}

function scopeFilter(scope: IndexScope): string {
  return `tenant == "${tenantKey(scope.tenantId)}" and scope == "${scopeKey(scope)}"`;
}

/** Milvus scores BM25 above zero, Milvus Lite below. Both give the best first. */
function mergeWays(results: readonly (readonly [Way, Found])[], limit: number): Candidate[] {
  const candidates = new Map<string, { -readonly [Key in keyof Candidate]: Candidate[Key] }>();
  for (const way of ["dense", "lexical"] as const) {
    const found = results
      .filter(([each]) => each === way)
      .flatMap(([, rows]) =>
        rows.map((row) => ({ row, score: way === "dense" ? row.score : Math.abs(row.score) })),
      )
      .sort((a, b) => b.score - a.score)
      .slice(0, limit);
    for (const [index, { row, score }] of found.entries()) {
      const chunk = toChunk(row);
      const candidate = candidates.get(chunk.chunkId) ?? { chunk, dense: undefined, lexical: undefined };
      candidate[way] = { rank: index + 1, score };
      candidates.set(chunk.chunkId, candidate);
    }
  }
  return [...candidates.values()];
}
