/** The index in a real PostgreSQL: with pgvector, and in one that has no such extension. */
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { PostgresVectorIndex } from "../../../backend/knowledge/postgres-vector-index.ts";
import { scopeMark } from "../../../backend/knowledge/postgres-words.ts";
import type { IndexScope } from "../../../backend/knowledge/vector-index.ts";
import { embedLexically } from "../../../backend/llm/builtin-embedding-model.ts";
import { PgSqlClient } from "../../../backend/stores/pg-sql-client.ts";
import type { SqlDatabase } from "../../../backend/stores/sql-database.ts";
import type { SqlParam } from "../../../core/directory/sql-client.ts";
import { sleep } from "../../../core/resilience/full-jitter.ts";
import { seededRandom } from "../../bench/knowledge/random.ts";
import { embeddedChunk, testChunk } from "../../support/knowledge.ts";
import { isPostgresAvailable, startPostgres, type TestPostgres } from "../../support/postgres.ts";
import { requirement } from "../../support/requirements.ts";
import { metadataFilterContract } from "./metadata-filter.contract.ts";
import { insertLarge, openIndex } from "./postgres-index-fixture.ts";
import { vectorIndexContract } from "./vector-index.contract.ts";

const START_TIMEOUT_MS = 60_000;
const signal = new AbortController().signal;

describe.skipIf(!requirement("pgvector").available)("PostgreSQL with pgvector as index", () => {
  let server: TestPostgres;
  let opened: Awaited<ReturnType<typeof openIndex>>;
  let index: PostgresVectorIndex;

  beforeAll(async () => {
    server = await startPostgres({ program: "pgvector" });
    opened = await openIndex(server);
    index = opened.open();
  }, START_TIMEOUT_MS);

  afterAll(async () => {
    await opened?.database.close();
    await server?.stop();
  }, START_TIMEOUT_MS);

  vectorIndexContract(() => index);
  metadataFilterContract(() => index);

  it("has vectors, and its own text search", async () => {
    expect(await index.capabilities()).toEqual({ vectors: true, lexical: "tsvector" });
    expect(opened.missing).toEqual([]);
  });

  it("is prepared by several backends at once", async () => {
    const { database, open } = await openIndex(server);
    const scope = { tenantId: "acme", collection: "manuals", generation: 1 };
    await Promise.all([open(), open(), open()].map((one) => one.prepare(scope, 5, signal)));
    await database.close();
  });

  it("finds in a large scope what an exact search finds, before its graph is built and along it, also under a filter that few chunks meet", async () => {
    const scope = { tenantId: "acme", collection: "large'\" \\", generation: 1 };
    await index.prepare(scope, 8, signal);
    await insertLarge(opened.database, scope, 10_500);
    const embedding = Float32Array.from({ length: 8 }, (_, d) => Math.sin(4_242 * (d + 2)));
    const expectNearest = async () => {
      for (const filter of [undefined, [{ field: "rare", equals: true }]]) {
        const found = await index.search({ scope, query: "", embedding, limit: 10, filter }, signal);
        const exact = await opened.database.query<{ id: string }>(
          `SELECT chunk_id AS id FROM knowledge_chunks
            WHERE collection = $3 AND (metadata @> '{"rare": true}' OR $2) ORDER BY cosine_distance(embedding, $1::vector) LIMIT 10`,
          [`[${embedding.join(",")}]`, filter === undefined, scope.collection],
        );
        const ids = new Set(found.map(({ chunk }) => chunk.chunkId));
        expect(exact.filter(({ id }) => ids.has(id)).length).toBeGreaterThanOrEqual(9);
        expect(found).toHaveLength(10);
      }
    };
    await expectNearest();
    // Found growing at the first look, from nothing, and at rest at the second.
    expect(await index.graphs?.tend(signal)).toEqual([]);
    expect(await index.graphs?.tend(signal)).toEqual([scope]);
    const asked = vi.spyOn(opened.database, "query");
    index = opened.open();
    await expectNearest();
    expect(await takesGraph(opened.database, asked.mock.calls)).toEqual([true, true]);
    asked.mockRestore();
    expect(await index.graphs?.tend(signal)).toEqual([]);
    await index.dropScope({ ...scope, generation: undefined }, signal);
    expect(await opened.database.query(GRAPHS, [])).toEqual([]);
  });

  it("builds anew a graph that was not finished, and none while another backend builds one", async () => {
    const { database } = opened;
    const scope = { tenantId: "acme", collection: "begun", generation: 3 };
    await index.capabilities();
    await insertLarge(database, scope, 10_001);
    const tendTwice = async () => {
      const { graphs: kept } = opened.open();
      kept?.notice(scope);
      await kept?.tend(signal);
      return kept?.tend(signal);
    };
    const locked = database.withSession?.(async (session) => {
      await session.query("SELECT pg_advisory_lock(5064770917)", []);
      const whileLocked = await tendTwice();
      await expect(index.graphs?.drop({ ...scope, generation: undefined }, signal)).resolves.toBeUndefined();
      return whileLocked;
    }, signal);
    expect(await locked).toEqual([]);
    expect(await tendTwice()).toEqual([scope]);
    expect(await tendTwice()).toEqual([]);
    await database.query(
      "UPDATE pg_index SET indisvalid = false FROM pg_class WHERE oid = indexrelid AND relname LIKE 'knowledge_graph%'",
      [],
    );
    expect(await tendTwice()).toEqual([scope]);
    expect(await database.query(GRAPHS, [])).toEqual([{ valid: true }]);
    await database.withSession?.(async (session) => {
      await session.query("SELECT pg_advisory_lock(5064770917)", []);
      const dropping = index.graphs?.drop(scope, signal);
      await expect(dropping).rejects.toMatchObject({ code: "unavailable", retryable: true });
    }, signal);
    await index.dropScope(scope, signal);
    expect(await database.query(GRAPHS, [])).toEqual([]);
  });

  it("builds the graph of a scope that is stored to once it rests, and drops no other generation's", async () => {
    const { database, open } = await openIndex(server);
    const stored = open();
    const scope = { tenantId: "acme", collection: "stored", generation: 1 };
    await stored.capabilities();
    await insertLarge(database, scope, 10_001);
    const embedding = new Float32Array(8).fill(1);
    await stored.replaceDocument(scope, "new", [{ ...testChunk("new", "flour"), embedding }], signal);
    expect(await stored.graphs?.tend(signal)).toEqual([]);
    await database.query(
      `INSERT INTO knowledge_chunks SELECT (jsonb_populate_record(k, jsonb_build_object('chunk_id', '+' || chunk_id))).*
         FROM knowledge_chunks k LIMIT 1100`,
      [],
    );
    expect(await stored.graphs?.tend(signal)).toEqual([]);
    expect(await stored.graphs?.tend(signal)).toEqual([scope]);
    const [{ name } = { name: "" }] = await database.query<{ name: string }>(
      "SELECT relname AS name FROM pg_class WHERE starts_with(relname, 'knowledge_graph_')",
      [],
    );
    await database.query(`CREATE INDEX ${name}2 ON knowledge_chunks (title)`, []);
    await stored.dropScope({ ...scope, generation: 12 }, signal);
    expect(await database.query(`SELECT to_regclass('${name}')::text AS name`, [])).toEqual([{ name }]);
    await database.close();
  });

  it("builds no more than 200 graphs, and says so", async () => {
    const { database, open } = await openIndex(server);
    const full = open();
    await full.capabilities();
    await database.runScript(`DO $$ BEGIN FOR n IN 1..200 LOOP
      EXECUTE format('CREATE INDEX knowledge_graph_%s ON knowledge_chunks (title)', n); END LOOP; END $$`);
    const scope = { tenantId: "acme", collection: "many", generation: 1 };
    await database.query("ALTER TABLE knowledge_chunks DISABLE TRIGGER USER", []);
    await insertLarge(database, scope, 10_001);
    full.graphs?.notice(scope);
    await full.graphs?.tend(signal);
    await expect(full.graphs?.tend(signal)).rejects.toMatchObject({ code: "resource_exhausted" });
    await database.close();
  });

  it("is opened by another backend while somebody else reads, once it is prepared", async () => {
    const { database, open } = await openIndex(server);
    await open().capabilities();
    const reader = await database.pool.connect();
    await reader.query("BEGIN; LOCK TABLE knowledge_chunks IN ACCESS SHARE MODE");
    const opening = open().capabilities();
    try {
      expect(await Promise.race([opening, sleep(4_000, signal)])).toMatchObject({ vectors: true });
    } finally {
      await reader.query("ROLLBACK");
      reader.release();
    }
    await database.close();
  });

  it("looks chunks up by their key before the server knows anything of the table", async () => {
    const { database, open } = await openIndex(server);
    const fresh = open();
    await fresh.capabilities();
    await database.query("ALTER TABLE knowledge_chunks SET (autovacuum_enabled = off)", []);
    const scope = { tenantId: "acme", collection: "fresh", generation: 1 };
    await insertLarge(database, scope, 5_000);
    await database.query("UPDATE knowledge_chunks SET terms = 'flour' WHERE chunk_id LIKE '%00'", []);
    const asked = vi.spyOn(database, "query");
    const embedding = Float32Array.of(1, 0, 0, 0, 0, 0, 0, 0);
    const rare = [{ field: "rare", equals: true }];
    await fresh.search({ scope, query: "flour", embedding, limit: 5, filter: rare }, signal);
    await fresh.search({ scope, query: "flour", embedding, limit: 5 }, signal);
    const searches = asked.mock.calls.filter(([text]) => text.includes("row_number()"));
    expect(searches).toHaveLength(4);
    for (const [text, params] of searches) {
      const plan = (await database.query<{ "QUERY PLAN": string }>(`EXPLAIN ${text}`, params)).map(
        (line) => line["QUERY PLAN"],
      );
      const lookups = plan.filter((line) => line.includes("Index Cond") && line.includes("chunk_id ="));
      expect(lookups.length).toBeGreaterThan(0);
      expect(plan.join("\n")).not.toContain("Join Filter");
    }
    await database.close();
  });

  it("keeps the words of a chunk for as long as the chunk, whoever writes it", async () => {
    const { database } = opened;
    await index.capabilities();
    const words = () =>
      database.query<{ words: string }>(
        "SELECT words::text AS words FROM knowledge_words WHERE collection = 'kept'",
        [],
      );
    const where = "collection = 'kept'";
    const mark = scopeMark({ tenantId: "acme", collection: "kept", generation: 1 });
    await database.query(
      `INSERT INTO knowledge_chunks (tenant_id, collection, generation, chunk_id, document_id, ordinal, title, headings,
         text, start_offset, end_offset, content_hash, metadata, terms)
       VALUES ('acme', 'kept', 1, 'one', 'doc', 0, '', '[]', '', 0, 0, '', '{}', 'flour milk flour')`,
      [],
    );
    expect(await words()).toEqual([{ words: "'MARKflour':1,3 'MARKmilk':2".replaceAll("MARK", mark) }]);
    await database.query(`UPDATE knowledge_chunks SET terms = 'rye' WHERE ${where}`, []);
    expect(await words()).toEqual([{ words: `'${mark}rye':1` }]);
    const version = "SELECT ctid::text FROM knowledge_words WHERE collection = 'kept'";
    const before = await database.query(version, []);
    await database.query(`UPDATE knowledge_chunks SET title = 'new' WHERE ${where}`, []);
    expect(await database.query(version, [])).toEqual(before);
    await database.query(`DELETE FROM knowledge_chunks WHERE ${where}`, []);
    expect(await words()).toEqual([]);
  });

  it("goes on with what it knew of how common terms are, while it learns it anew", async () => {
    const { database } = opened;
    let nowMs = 0;
    const aging = new PostgresVectorIndex({ database, now: () => nowMs, onMissing: () => undefined });
    const scope = { tenantId: "acme", collection: "aging", generation: 1 };
    const ask = () => aging.search({ scope, query: "flour", embedding: undefined, limit: 5 }, signal);
    await aging.replaceDocument(scope, "doc", [embeddedChunk("doc", "flour")], signal);
    const first = await ask();
    const asked = vi.spyOn(database, "query");
    const isSample = (text: string) => text.includes("unnest(words)");
    asked.mockImplementation((text, params, limited) =>
      isSample(text)
        ? new Promise<never>(() => undefined)
        : PgSqlClient.prototype.query.call(database, text, params, limited),
    );
    nowMs = 600_000;
    expect(await ask()).toEqual(first);
    expect(await ask()).toEqual(first);
    expect(asked.mock.calls.filter(([text]) => isSample(text))).toHaveLength(1);
    asked.mockRestore();
  });

  it("samples a scope anew that has more than doubled, and counts no term that its sample has", async () => {
    const { database } = opened;
    const scope = { tenantId: "acme", collection: "sampled", generation: 1 };
    const asked = vi.spyOn(database, "query");
    for (const documents of [4, 7, 9]) {
      for (let n = 0; n < documents; n++) {
        await index.replaceDocument(scope, `${n}`, [embeddedChunk(`${n}`, "flour")], signal);
      }
      await index.search({ scope, query: "flour", embedding: undefined, limit: 5 }, signal);
    }
    const [samples, counts] = ["unnest(words)", "plainto_tsquery"].map(
      (part) => asked.mock.calls.filter(([text]) => text.includes(part)).length,
    );
    asked.mockRestore();
    expect([samples, counts]).toEqual([2, 0]);
  });

  it("takes over what an older version has stored, and lets its backends go on until they are gone", async () => {
    const { database, open, missing } = await openIndex(server);
    await database.runScript(OLDER_VERSION);
    let nowMs = 0;
    const upgraded = new PostgresVectorIndex({
      database,
      now: () => nowMs,
      onMissing: (what) => missing.push(what),
    });
    const scope = { tenantId: "acme", collection: "old", generation: 1 };
    const ask = { scope, query: "flour", embedding: Float32Array.of(1, 0, 0), limit: 5 };
    expect(await upgraded.search(ask, signal)).toMatchObject([{ dense: { rank: 1 }, lexical: { rank: 1 } }]);
    await upgraded.graphs?.tend(signal);
    await database.query("SELECT words FROM knowledge_chunks", []);
    nowMs = 3_600_000;
    await upgraded.graphs?.tend(signal);
    await expect(database.query("SELECT words FROM knowledge_chunks", [])).rejects.toThrow();
    expect(await database.query("SELECT to_regclass('knowledge_chunks_hnsw_3') IS NULL AS gone", [])).toEqual(
      [{ gone: true }],
    );
    expect(await open().search(ask, signal)).toHaveLength(1);
    await database.close();
  });

  it("holds up no search when somebody else still reads what it would drop of an older version", async () => {
    const { database } = await openIndex(server);
    await database.runScript(OLDER_VERSION);
    let nowMs = 0;
    const upgraded = new PostgresVectorIndex({ database, now: () => nowMs, onMissing: () => undefined });
    const scope = { tenantId: "acme", collection: "old", generation: 1 };
    const search = (limited: AbortSignal) =>
      upgraded.search({ scope, query: "flour", embedding: undefined, limit: 5 }, limited);
    await search(signal);
    await database.query("DROP INDEX knowledge_chunks_hnsw_3", []);
    nowMs = 3_600_000;
    const reader = await database.pool.connect();
    await reader.query("BEGIN; LOCK TABLE knowledge_chunks IN ACCESS SHARE MODE");
    try {
      const tending = upgraded.graphs?.tend(signal);
      await vi.waitUntil(async () => (await database.query(WAITS_FOR_ALL, [])).length > 0);
      expect(await search(AbortSignal.timeout(4_000))).toHaveLength(1);
      expect(await tending).toEqual([]);
    } finally {
      await reader.query("ROLLBACK");
      reader.release();
    }
    await database.query("SELECT words FROM knowledge_chunks", []);
    await upgraded.graphs?.tend(signal);
    await expect(database.query("SELECT words FROM knowledge_chunks", [])).rejects.toThrow();
    await database.close();
  });

  it("deletes the words of one chunk by their key, also after those of many on the same connection", async () => {
    const { database, open } = await openIndex(server);
    await open().capabilities();
    await insertLarge(database, { tenantId: "acme", collection: "many", generation: 1 }, 9_000);
    await database.query("ANALYZE knowledge_words", []);
    const connection = await database.pool.connect();
    const readsOfAll = async (ids: string) => {
      await connection.query(`DELETE FROM knowledge_chunks WHERE chunk_id::int BETWEEN ${ids}`);
      const { rows } = await connection.query(
        "SELECT seq_scan::int AS scans FROM pg_stat_xact_user_tables WHERE relname = 'knowledge_words'",
      );
      return rows[0].scans;
    };
    await connection.query("BEGIN");
    const before = await readsOfAll("1 AND 5000");
    expect(await readsOfAll("5001 AND 5001")).toBe(before);
    await connection.query("COMMIT");
    connection.release();
    await database.close();
  });

  it("tells scopes whose words begin with the same mark apart", async () => {
    const [own, other] = [45, 95].map((n) => ({ tenantId: `t${n}`, collection: "c", generation: 1 })) as [
      IndexScope,
      IndexScope,
    ];
    expect(scopeMark(own)).toBe(scopeMark(other));
    for (const id of ["a", "b", "c", "d"]) {
      await index.replaceDocument(other, id, [embeddedChunk(id, "flour", { title: "flour" })], signal);
    }
    await index.replaceDocument(own, "own", [embeddedChunk("own", "some flour and milk")], signal);
    const found = await index.search({ scope: own, query: "flour", embedding: undefined, limit: 2 }, signal);
    expect(found.map(({ chunk }) => chunk.documentId)).toEqual(["own"]);
  });

  it("ranks the words of a large scope as BM25 over all of its chunks does", async () => {
    const chunks = largeScope(seededRandom(9));
    const scope = { tenantId: "acme", collection: "words", generation: 1 };
    await opened.database.query(
      `INSERT INTO knowledge_chunks (tenant_id, collection, generation, chunk_id, document_id, ordinal, title, headings,
         text, start_offset, end_offset, content_hash, metadata, terms)
       SELECT 'acme', 'words', 1, md5(n::text), n::text, 0, '', '[]', '', 0, 0, '', jsonb_build_object('tenth', n % 10 = 0),
         terms FROM unnest($1::text[]) WITH ORDINALITY AS chunk (terms, n)`,
      [chunks],
    );
    const questions = [
      "w2 w3 w5 w8",
      "w0 w1",
      "w40 w1 w2",
      "w900 w0",
      "w1 w2 w3 w4 w5 w6 w7 w8 w9 w10",
      "w4",
    ];
    for (const filter of [undefined, [{ field: "tenth", equals: true }]]) {
      let found = 0;
      let best = 0;
      for (const query of questions) {
        const rows = await index.search({ scope, query, embedding: undefined, limit: 40, filter }, signal);
        const ids = new Set(rows.map(({ chunk }) => Number(chunk.documentId)));
        const exact = rankByBm25(chunks, query.split(" ")).filter((n) => !filter || n % 10 === 0);
        best += exact.slice(0, 10).length;
        found += exact.slice(0, 10).filter((n) => ids.has(n)).length;
        expect(rows).toHaveLength(Math.min(40, exact.length));
      }
      expect(found / best).toBeGreaterThanOrEqual(0.95);
    }
  });

  it("finds a chunk whose term was not there when its scope was last counted", async () => {
    const scope = { tenantId: "acme", collection: "words", generation: 1 };
    const ask = () => index.search({ scope, query: "w1 newcomer", embedding: undefined, limit: 5 }, signal);
    await ask();
    await index.replaceDocument(scope, "new", [embeddedChunk("new", "A newcomer.")], signal);
    expect((await ask()).find(({ lexical }) => lexical?.rank === 1)?.chunk.documentId).toBe("new");
  });
});

describe.skipIf(!isPostgresAvailable())("PostgreSQL without pgvector as index", () => {
  let server: TestPostgres;
  let opened: Awaited<ReturnType<typeof openIndex>>;

  beforeAll(async () => {
    server = await startPostgres();
    opened = await openIndex(server);
  }, START_TIMEOUT_MS);

  afterAll(async () => {
    await opened?.database.close();
    await server?.stop();
  }, START_TIMEOUT_MS);

  it("searches by words alone, and says once what is missing and what to do", async () => {
    const [available] = await opened.database.query(
      "SELECT 1 FROM pg_available_extensions WHERE name = 'vector'",
      [],
    );
    // A server that TEST_DATABASE_URL names may have it.
    if (available) return;
    const index = opened.open();
    const scope = { tenantId: "acme", collection: "manuals", generation: 1 };
    await index.prepare(scope, 384, signal);
    await index.replaceDocument(scope, "doc", [embeddedChunk("doc", "flour and milk")], signal);
    const embedding = embedLexically("flour");
    const found = await index.search({ scope, query: "flour", embedding, limit: 5 }, signal);
    expect(found).toMatchObject([{ chunk: { documentId: "doc" }, dense: undefined, lexical: { rank: 1 } }]);
    expect(opened.missing).toEqual([expect.stringContaining("Install pgvector")]);
  });
});

/** What the version before knowledge_words made, with a chunk. */
const OLDER_VERSION = `
  CREATE EXTENSION vector;
  ALTER TABLE knowledge_chunks ADD COLUMN embedding vector;
  ALTER TABLE knowledge_chunks ADD COLUMN words tsvector GENERATED ALWAYS AS (to_tsvector('simple', terms)) STORED;
  CREATE INDEX knowledge_chunks_words ON knowledge_chunks USING gin (words);
  CREATE INDEX knowledge_chunks_hnsw_3 ON knowledge_chunks USING hnsw ((embedding::vector(3)) vector_cosine_ops)
    WHERE vector_dims(embedding) = 3;
  INSERT INTO knowledge_chunks (tenant_id, collection, generation, chunk_id, document_id, ordinal, title, headings,
    text, start_offset, end_offset, content_hash, metadata, terms, embedding)
  VALUES ('acme', 'old', 1, 'one', 'doc', 0, '', '[]', '', 0, 0, '', '{}', 'flour', '[1,0,0]');`;

/** Of each search by vectors that was asked, whether the server takes a graph for it. */
function takesGraph(
  database: SqlDatabase,
  asked: readonly (readonly [string, readonly SqlParam[], ...unknown[]])[],
) {
  const searches = asked.filter(([text]) => text.includes("<=>"));
  return Promise.all(
    searches.map(async ([text, params]) =>
      JSON.stringify(await database.query(`EXPLAIN ${text}`, params)).includes("using knowledge_graph_"),
    ),
  );
}

const WAITS_FOR_ALL = `SELECT FROM pg_locks
  WHERE relation = 'knowledge_chunks'::regclass AND mode = 'AccessExclusiveLock' AND NOT granted`;

const GRAPHS = `SELECT indisvalid AS valid FROM pg_index JOIN pg_class ON oid = indexrelid
  WHERE starts_with(relname, 'knowledge_graph_')`;

/** Terms of 3,000 chunks, w0 the commonest; every tenth term is said up to five times. */
function largeScope(random: () => number): string[] {
  return Array.from({ length: 3_000 }, () =>
    Array.from({ length: 10 + Math.floor(random() * 40) }, (_, at) => {
      const term = `w${Math.floor(30 * 1_000 ** random()) - 30}`;
      return Array(at % 10 === 0 ? 1 + Math.floor(random() * 5) : 1)
        .fill(term)
        .join(" ");
    }).join(" "),
  );
}

/** The numbers, from 1, of the chunks that have a term, best first, by the formula itself. */
function rankByBm25(chunks: readonly string[], terms: readonly string[]): number[] {
  const words = chunks.map((text) => text.split(" "));
  const lengths = words.map((all) => new Set(all).size);
  const average = lengths.reduce((sum, length) => sum + length, 0) / lengths.length;
  const counts = terms.map((term) => words.map((all) => all.filter((word) => word === term).length));
  const idfs = counts.map((each) => {
    const having = each.filter((count) => count > 0).length;
    return Math.log(1 + (chunks.length - having + 0.5) / (having + 0.5));
  });
  const scores = lengths.map((length, at) =>
    counts.reduce((sum, each, term) => {
      const count = each[at] ?? 0;
      return sum + ((idfs[term] ?? 0) * count * 2.2) / (count + 1.2 * (0.25 + (0.75 * length) / average));
    }, 0),
  );
  return scores
    .map((score, at) => ({ score, number: at + 1 }))
    .filter(({ score }) => score > 0)
    .toSorted((a, b) => b.score - a.score)
    .map(({ number }) => number);
}
