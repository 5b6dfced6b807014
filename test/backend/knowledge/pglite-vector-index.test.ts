/** The index in the embedded PostgreSQL. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { PostgresVectorIndex } from "../../../backend/knowledge/postgres-vector-index.ts";
import { PgliteSqlClient } from "../../../backend/stores/pglite-sql-client.ts";
import { copyEmptyDatabase } from "../../support/database-template.ts";
import { testChunk } from "../../support/knowledge.ts";
import { metadataFilterContract } from "./metadata-filter.contract.ts";
import { vectorIndexContract } from "./vector-index.contract.ts";

const BOOT_TIMEOUT_MS = 120_000;
let folder = "";
let database: PgliteSqlClient;
let index: PostgresVectorIndex;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "parley-index-"));
  await copyEmptyDatabase(join(folder, "postgres"));
  database = await PgliteSqlClient.open({
    dataDirectory: join(folder, "postgres"),
    onEvent: (event) => {
      throw new Error(`unexpected: ${JSON.stringify(event)}`);
    },
  });
  index = new PostgresVectorIndex({
    database,
    now: () => performance.now(),
    onMissing: (what, cause) => {
      throw new Error(what, { cause });
    },
  });
}, BOOT_TIMEOUT_MS);

afterAll(async () => {
  await database?.close();
  rmSync(folder, { recursive: true, force: true });
}, BOOT_TIMEOUT_MS);

describe("PGlite as index", () => {
  vectorIndexContract(() => index);
  metadataFilterContract(() => index);

  it("has vectors and BM25", async () => {
    expect(await index.capabilities()).toEqual({ vectors: true, lexical: "bm25" });
  });

  it("has no graph, and drops that of an older version", async () => {
    await index.capabilities();
    await database.query(
      "CREATE INDEX knowledge_chunks_hnsw_5 ON knowledge_chunks USING hnsw ((embedding::vector(5)) vector_cosine_ops) WHERE vector_dims(embedding) = 5",
      [],
    );
    const scope = { tenantId: "acme", collection: "old", generation: 1 };
    await index.prepare(scope, 5, new AbortController().signal);
    const graphs = "SELECT relname FROM pg_class JOIN pg_am ON relam = pg_am.oid WHERE amname = 'hnsw'";
    expect(await database.query(graphs, [])).toEqual([]);
  });

  it(
    "finds by the BM25 index what a small scope has, behind more of others' than it gives unless asked for more",
    async () => {
      const signal = new AbortController().signal;
      const store = (tenantId: string, texts: readonly string[]) => {
        const chunks = texts.map((text, ordinal) => ({
          ...testChunk("doc", text, { ordinal }),
          embedding: undefined,
        }));
        return index.replaceDocument({ tenantId, ...place }, "doc", chunks, signal);
      };
      const place = { collection: "shared-name", generation: 1 };
      // pg_textsearch's default_limit is 1,000.
      await store(
        "large",
        Array.from({ length: 1_200 }, (_, n) => `okapi okapi okapi ${n}`),
      );
      await store("small", [`an okapi ${"among many other words ".repeat(20)}`, "a zebra"]);
      await database.query("ANALYZE knowledge_chunks", []);
      // One session: the plan is the one that a large table gets.
      for (const way of ["sort", "seqscan", "bitmapscan"])
        await database.query(`SET enable_${way} = off`, []);
      try {
        const query = {
          scope: { tenantId: "small", ...place },
          query: "okapi",
          embedding: undefined,
          limit: 40,
        };
        expect(await index.search(query, signal)).toMatchObject([{ chunk: { ordinal: 0 } }]);
      } finally {
        await database.query("RESET ALL", []);
      }
    },
    BOOT_TIMEOUT_MS,
  );
});
