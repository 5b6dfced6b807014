/** The index in a real PostgreSQL: with pgvector, and in one that has no such extension. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { PostgresVectorIndex } from "../../../backend/knowledge/postgres-vector-index.ts";
import { embedLexically } from "../../../backend/llm/builtin-embedding-model.ts";
import { migrate, readMigrations } from "../../../backend/stores/migrate.ts";
import { PgSqlClient } from "../../../backend/stores/pg-sql-client.ts";
import { seededRandom } from "../../bench/knowledge/random.ts";
import { embeddedChunk } from "../../support/knowledge.ts";
import { isPostgresAvailable, startPostgres, type TestPostgres } from "../../support/postgres.ts";
import { requirement } from "../../support/requirements.ts";
import { metadataFilterContract } from "./metadata-filter.contract.ts";
import { vectorIndexContract } from "./vector-index.contract.ts";

const START_TIMEOUT_MS = 60_000;
const signal = new AbortController().signal;

async function openIndex(server: TestPostgres) {
  const database = new PgSqlClient({
    connectionString: await server.createDatabase(),
    onIdleError: (error) => {
      throw error;
    },
  });
  await migrate(database, await readMigrations());
  const missing: string[] = [];
  const options = { database, now: () => performance.now(), onMissing: (what: string) => missing.push(what) };
  return { database, missing, open: () => new PostgresVectorIndex(options) };
}

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

  it("finds in a large scope what an exact search finds, also under a filter that few chunks meet", async () => {
    const scope = { tenantId: "acme", collection: "large", generation: 1 };
    await index.prepare(scope, 8, signal);
    await opened.database.runScript(
      `SET LOCAL statement_timeout = 0;
       INSERT INTO knowledge_chunks (tenant_id, collection, generation, chunk_id, document_id, ordinal, title, headings,
         text, start_offset, end_offset, content_hash, metadata, terms, embedding)
       SELECT 'acme', 'large', 1, n::text, n::text, 0, '', '[]', '', 0, 0, '', jsonb_build_object('rare', n % 500 = 0), '',
         ARRAY(SELECT sin(n * (d + 1)) FROM generate_series(1, 8) d)::vector
         FROM generate_series(1, 10500) n`,
    );
    const embedding = Float32Array.from({ length: 8 }, (_, d) => Math.sin(4_242 * (d + 2)));
    for (const filter of [undefined, [{ field: "rare", equals: true }]]) {
      const found = await index.search({ scope, query: "", embedding, limit: 10, filter }, signal);
      const exact = await opened.database.query<{ id: string }>(
        `SELECT chunk_id AS id FROM knowledge_chunks
          WHERE collection = 'large' AND (metadata @> '{"rare": true}' OR $2) ORDER BY embedding <=> $1::vector LIMIT 10`,
        [`[${embedding.join(",")}]`, filter === undefined],
      );
      const ids = new Set(found.map(({ chunk }) => chunk.chunkId));
      expect(exact.filter(({ id }) => ids.has(id)).length).toBeGreaterThanOrEqual(9);
      expect(found).toHaveLength(10);
    }
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
