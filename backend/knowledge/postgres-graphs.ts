/**
 * The graphs (HNSW) by which PostgreSQL searches large scopes: one for each scope, built in the background once the
 * scope is large and has come to rest, without anybody waiting for it. Until then every vector is compared, which is
 * slower and as right. All that has to be remembered is in the database's catalog, so restarts and other backends see
 * the same.
 */
import { createHash } from "node:crypto";
import type { SqlClient } from "../../core/directory/sql-client.ts";
import { ParleyError } from "../../core/errors/parley-error.ts";
import { sleep } from "../../core/resilience/full-jitter.ts";
import type { SqlDatabase } from "../stores/sql-database.ts";
import { SqlParameters } from "./postgres-filter.ts";
import { scopeSql } from "./postgres-index-queries.ts";
import { dropWordsColumn } from "./postgres-words.ts";
import { type IndexScope, type ScopeSelection, scopeName } from "./vector-index.ts";

/** Up to here reading every vector of the scope is as fast as the graph, and exact: 15 ms. */
export const EXACT_CHUNKS_MAX = 10_000;
/** A scope that has grown by this share since it was last looked at is still being filled: it would slow that down tenfold. */
const RESTING_GROWTH_MAX = 0.1;
/** From here on a scope has to have a graph even so: comparing 300,000 vectors takes most of a search's time. */
const RESTLESS_CHUNKS_MAX = 300_000;
/** Scopes are looked at this often. */
const TEND_MS = 30_000;
/** After a failure that is no outage: the next try would cost minutes of work, and fail again. */
const FAILURE_PAUSE_MS = 600_000;
/** Scopes that are looked at. Others are when they are searched again. */
const NOTICED_MAX = 1_000;
/** Of one database: planning any statement on chunks looks at each, for some 10 µs. */
const GRAPHS_MAX = 200;
/** Backends of an older version have gone by then, and what only they use can be dropped. */
const OUTDATED_AFTER_MS = 3_600_000;

/** What a node takes while a graph is built, beside two bytes for each number. */
const NODE_BYTES = 800;
/** A server's default, and half of a small server's memory: a graph that needs more is built more slowly. */
const BUILD_MEMORY_MB = { min: 64, max: 512 };

/** Any number that nothing else in the database locks. */
const LOCK_KEY = 5_064_770_917;
const PREFIX = "knowledge_graph_";

/** What the graphs are built with. */
export interface PostgresGraphsOptions {
  readonly database: SqlDatabase;
  /** Milliseconds that only grow. */
  readonly now: () => number;
}

/** Builds graphs and drops them. */
export class PostgresGraphs {
  readonly #options: PostgresGraphsOptions;
  readonly #startedAtMs: number;
  /** Scopes that may be in want of a graph, and how many chunks they had when last looked at. */
  readonly #noticed = new Map<string, { readonly scope: IndexScope; chunks: number }>();
  #isOutdatedGone = false;

  constructor(options: PostgresGraphsOptions) {
    this.#options = options;
    this.#startedAtMs = options.now();
  }

  /** Says that chunks were stored in the scope, or that it is searched and has no graph. */
  notice(scope: IndexScope): void {
    const name = graphName(scope);
    if (this.#noticed.has(name) || this.#noticed.size >= NOTICED_MAX) return;
    this.#noticed.set(name, { scope, chunks: 0 });
  }

  /** Tends the graphs until the signal aborts. */
  async keep(onFailure: (error: unknown) => void, signal: AbortSignal): Promise<void> {
    for (let pauseMs = TEND_MS; !signal.aborted; ) {
      await sleep(pauseMs, signal).catch(() => undefined);
      try {
        if (!signal.aborted) await this.tend(signal);
        pauseMs = TEND_MS;
      } catch (error) {
        if (!signal.aborted) onFailure(error);
        pauseMs = error instanceof ParleyError && error.retryable ? TEND_MS : FAILURE_PAUSE_MS;
      }
    }
  }

  /**
   * Looks once at all scopes that were noticed, and builds the graphs of those that are large and at rest, one after
   * the other. A scope is at rest when it has hardly grown since the last look.
   *
   * @returns the scopes that have a graph now and had none
   * @throws ParleyError; what was noticed and not built is noticed when it is searched again
   */
  async tend(signal: AbortSignal): Promise<IndexScope[]> {
    const built: IndexScope[] = [];
    for (const [name, noticed] of this.#noticed) {
      const { chunks, hasGraph } = await findScopeState(this.#options.database, noticed.scope, signal);
      const isSettled = chunks <= EXACT_CHUNKS_MAX || hasGraph;
      const isGrowing = chunks > noticed.chunks * (1 + RESTING_GROWTH_MAX);
      noticed.chunks = chunks;
      if (!isSettled && isGrowing && chunks < RESTLESS_CHUNKS_MAX) continue;
      this.#noticed.delete(name);
      if (!isSettled && (await this.#build(noticed.scope, signal))) built.push(noticed.scope);
    }
    await this.#dropOutdated(signal);
    return built;
  }

  /** Drops the graph of a generation or, without one, those of all generations of the collection. Idempotent. */
  async drop(scope: ScopeSelection, signal: AbortSignal): Promise<void> {
    const { database } = this.#options;
    const { generation } = scope;
    const found = await findGraphs(database, graphName(scope), generation === undefined, signal);
    if (found.length === 0) return;
    const dropped = await this.#locked(signal, async (session) => {
      for (const name of found) await dropIndex(session, name);
      return true;
    });
    if (!dropped) {
      throw new ParleyError("unavailable", "the graph of another collection is being built", {
        retryable: true,
      });
    }
  }

  /** Builds it; false when another backend is building one, or there is nothing to build of. */
  async #build(scope: IndexScope, signal: AbortSignal): Promise<boolean> {
    const built = await this.#locked(signal, async (session) => {
      const name = graphName(scope);
      const { chunks, hasGraph } = await findScopeState(session, scope, signal);
      if (hasGraph) return false;
      // One that was not finished; it costs, and serves nobody.
      await dropIndex(session, name);
      const graphs = await findGraphs(session, PREFIX, true, signal);
      if (graphs.length >= GRAPHS_MAX) {
        throw new ParleyError(
          "resource_exhausted",
          `the database has ${GRAPHS_MAX} graphs of knowledge already`,
        );
      }
      const dimension = await findDimension(session, scope);
      if (dimension === undefined) return false;
      // One processor, so that those who search have the other ones; and no shared memory, of which containers have little.
      await session.query(
        "SELECT set_config('maintenance_work_mem', $1, false), set_config('max_parallel_maintenance_workers', '0', false)",
        [`${buildMemoryMb(chunks, dimension)}MB`],
      );
      await session.query(await createGraphSql(session, scope, dimension), []);
      return true;
    });
    return built ?? false;
  }

  /** One backend at a time: two indexes that are built concurrently would wait for each other. Undefined when it is not ours to do. */
  async #locked<Result>(
    signal: AbortSignal,
    work: (session: SqlClient) => Promise<Result>,
  ): Promise<Result | undefined> {
    return this.#options.database.withSession?.(async (session) => {
      const text = `SELECT pg_try_advisory_lock(${LOCK_KEY}) AS locked`;
      const [row] = await session.query<{ locked: boolean }>(text, []);
      return row?.locked ? work(session) : undefined;
    }, signal);
  }

  /** What older versions had: graphs of all vectors of a length, which every chunk stored has to wait for. */
  async #dropOutdated(signal: AbortSignal): Promise<void> {
    if (this.#isOutdatedGone || this.#options.now() - this.#startedAtMs < OUTDATED_AFTER_MS) return;
    const dropped = await this.#locked(signal, async (session) => {
      for (const name of await findGraphs(session, "knowledge_chunks_hnsw_", true, signal)) {
        await dropIndex(session, name);
      }
      return dropWordsColumn(session);
    });
    this.#isOutdatedGone = dropped ?? false;
  }
}

/** How many chunks the scope has, counted exactly, and whether there is a graph to search it by. */
async function findScopeState(client: SqlClient, scope: IndexScope, signal: AbortSignal) {
  const params = new SqlParameters();
  const text = `SELECT (SELECT count(*) FROM knowledge_chunks k WHERE ${scopeSql(scope, params)})::int AS chunks,
    ${hasGraphSql(scope, params)} AS "hasGraph"`;
  const [row] = await client.query<{ chunks: number; hasGraph: boolean }>(text, params.values, signal);
  return row ?? { chunks: 0, hasGraph: false };
}

/** An expression: whether the scope has a graph that is finished. */
export function hasGraphSql(scope: IndexScope, params: SqlParameters): string {
  return `EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass(${params.add(graphName(scope))}) AND indisvalid)`;
}

/** The name of the scope's graph; without a generation, how the names of all of the collection's begin. */
function graphName({ tenantId, collection, generation }: ScopeSelection): string {
  const owner = createHash("sha256").update(scopeName({ tenantId, collection })).digest("hex").slice(0, 24);
  return `${PREFIX}${owner}_${generation ?? ""}`;
}

/** Names of indexes of chunks, finished or not. */
async function findGraphs(
  client: SqlClient,
  name: string,
  isPrefix: boolean,
  signal: AbortSignal,
): Promise<string[]> {
  const text = `
    SELECT relname AS name FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
     WHERE indrelid = 'knowledge_chunks'::regclass AND (relname = $1 OR ($2 AND starts_with(relname, $1)))`;
  const rows = await client.query<{ name: string }>(text, [name, isPrefix], signal);
  return rows.map((row) => row.name);
}

async function findDimension(session: SqlClient, scope: IndexScope): Promise<number | undefined> {
  const params = new SqlParameters();
  const text = `SELECT vector_dims(embedding) AS dimension FROM knowledge_chunks k
    WHERE ${scopeSql(scope, params)} AND embedding IS NOT NULL LIMIT 1`;
  const [row] = await session.query<{ dimension: number }>(text, params.values);
  return row?.dimension;
}

/** The server quotes: what creates an index takes no parameters. */
async function createGraphSql(session: SqlClient, scope: IndexScope, dimension: number): Promise<string> {
  const text = `SELECT format(
    'CREATE INDEX CONCURRENTLY %I ON knowledge_chunks
      USING hnsw ((embedding::halfvec(%s)) halfvec_cosine_ops) WITH (m = 16, ef_construction = 100)
      WHERE tenant_id = %L AND collection = %L AND generation = %s AND vector_dims(embedding) = %s',
    $1::text, $2::int, $3::text, $4::text, $5::int, $2::int) AS sql`;
  const { tenantId, collection, generation } = scope;
  const params = [graphName(scope), dimension, tenantId, collection, generation];
  const [row] = await session.query<{ sql: string }>(text, params);
  return row?.sql ?? "";
}

/** @param name ours, of letters, digits and underscores */
async function dropIndex(session: SqlClient, name: string): Promise<void> {
  await session.query(`DROP INDEX CONCURRENTLY IF EXISTS ${name}`, []);
}

function buildMemoryMb(chunks: number, dimension: number): number {
  const needed = Math.ceil((chunks * (2 * dimension + NODE_BYTES)) / 2 ** 20);
  return Math.min(BUILD_MEMORY_MB.max, Math.max(BUILD_MEMORY_MB.min, needed));
}
