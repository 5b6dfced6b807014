/** The index in a real PostgreSQL: with pgvector, and in one that has no such extension. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { PostgresVectorIndex } from "../../../backend/knowledge/postgres-vector-index.ts";
import { embedLexically } from "../../../backend/llm/builtin-embedding-model.ts";
import { migrate, readMigrations } from "../../../backend/stores/migrate.ts";
import { PgSqlClient } from "../../../backend/stores/pg-sql-client.ts";
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
