/**
 * Documents in, replaced and out again: what is in the database and in the index after each step, on every database
 * that ingestion works with.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { DOCUMENTS_MAX, STEPS_WAITING_MAX } from "../../../backend/knowledge/ingestion.ts";
import { SHARED_TENANT_ID } from "../../../backend/knowledge/vector-index.ts";
import { embedLexically } from "../../../backend/llm/builtin-embedding-model.ts";
import type { SqlDatabase } from "../../../backend/stores/sql-database.ts";
import { actorOf, input, openFixture, until } from "./ingestion-fixture.ts";

const LIMIT_MS = 120_000;
/** For requests whose steps are not taken, or fail. */
const NO_WAIT_MS = 0;
const signal = new AbortController().signal;
type Fixture = Awaited<ReturnType<typeof openFixture>>;
type Backend = ReturnType<Fixture["backend"]>;

/** @param open opens an empty database; the contract closes it */
export function ingestionContract(open: () => Promise<SqlDatabase>): void {
  let fixture: Fixture;
  let backends: Backend[] = [];
  let tenant = "";
  let tenants = 0;

  const start = (embeddingModel?: string, awaitMs?: number): Backend => {
    const backend = fixture.backend(embeddingModel, awaitMs);
    backends.push(backend);
    backend.runner.start();
    return backend;
  };
  const call = () => ({ actor: actorOf(tenant), signal });
  const mine = () => `tenant_id = '${tenant}'`;
  const words = (id: string, count = 40) =>
    `# About ${id}\n\n${`The ${id} is a thing of its own kind. `.repeat(count)}`;
  /** As if the last change were longer ago. */
  const settle = () =>
    fixture.database.query(
      "UPDATE knowledge_collections SET revised_at = now() - interval '1 minute' WHERE name = 'docs'",
      [],
    );
  const found = async (
    query: string,
    generation = 1,
    embedding: Float32Array | undefined = embedLexically(query),
  ) => {
    const scope = { tenantId: tenant, collection: "docs", generation };
    const candidates = await fixture.index.search({ scope, query, embedding, limit: 10 }, signal);
    return [...new Set(candidates.map(({ chunk }) => chunk.documentId))].toSorted();
  };

  beforeAll(async () => {
    fixture = await openFixture(await open());
  }, LIMIT_MS);
  afterAll(() => fixture.close(), LIMIT_MS);
  beforeEach(() => {
    tenant = `tenant-${++tenants}`;
    fixture.server.failing = false;
    fixture.server.charactersMax = Number.POSITIVE_INFINITY;
    return async () => {
      await Promise.all(backends.map(({ runner }) => runner.stop()));
      backends = [];
    };
  });

  describe("a document", () => {
    it("is in the index when the request is answered, with chunks that are places in its text", async () => {
      const { ingestion } = start();
      const { outcome, job } = await ingestion.put("docs", input("llama.md", words("llama", 200)), call());
      expect(job).toMatchObject({ total: 1, done: 1, failed: 0, finishedAtMs: expect.any(Number) });
      expect(outcome.document).toMatchObject({
        state: "ready",
        title: "About llama",
        mediaType: "text/markdown",
      });
      const rows = await fixture.database.query<{ text: string; start_offset: number; end_offset: number }>(
        `SELECT text, start_offset, end_offset FROM knowledge_chunks WHERE ${mine()}`,
        [],
      );
      const text = await ingestion.getText("docs", "llama.md", call());
      expect(rows.length).toBe(outcome.document?.chunksCount);
      expect(rows.length).toBeGreaterThan(2);
      for (const row of rows) expect(text.slice(row.start_offset, row.end_offset)).toBe(row.text);
      expect(await found("llama")).toEqual(["llama.md"]);
    });

    it("that is put again unchanged costs nothing; one that differs in anything is indexed again", async () => {
      const { ingestion, taken } = start();
      const put = (fields = {}) => ingestion.put("docs", input("a.md", words("llama"), fields), call());
      await put();
      expect(await put()).toMatchObject({ outcome: { status: "unchanged" }, job: undefined });
      expect(taken).toHaveLength(1);
      expect((await put({ title: "Other" })).outcome).toMatchObject({
        status: "queued",
        document: { title: "Other" },
      });
      expect((await put({ title: "Other", metadata: { year: 2026 } })).outcome.status).toBe("queued");
      expect((await put({ title: "Other", metadata: { year: 2026 } })).outcome.status).toBe("unchanged");
      expect(await fixture.count("knowledge_documents", mine())).toBe(1);
      expect(await fixture.count("audit_log", `${mine()} AND action = 'document.put'`)).toBe(3);
    });

    it("that is replaced leaves nothing of its older version", async () => {
      const { ingestion } = start();
      await ingestion.put("docs", input("a.md", words("llama", 400)), call());
      const before = await fixture.count("knowledge_chunks", mine());
      const { outcome } = await ingestion.put("docs", input("a.md", words("zebra")), call());
      expect(before).toBeGreaterThan(outcome.document?.chunksCount ?? 99);
      expect(await fixture.count("knowledge_chunks", mine())).toBe(outcome.document?.chunksCount);
      expect(await fixture.count("knowledge_chunks", `${mine()} AND text LIKE '%llama%'`)).toBe(0);
    });

    it("that is deleted leaves no row and no chunk, and then is not found", async () => {
      const { ingestion } = start();
      await ingestion.put("docs", input("a.md", words("llama")), call());
      await ingestion.put("docs", input("b.md", words("zebra")), call());
      expect(await ingestion.delete("docs", "a.md", call())).toMatchObject({ total: 1, done: 1 });
      expect(await fixture.count("knowledge_documents", mine())).toBe(1);
      expect(await fixture.count("knowledge_chunks", `${mine()} AND document_id = 'a.md'`)).toBe(0);
      await expect(ingestion.delete("docs", "a.md", call())).rejects.toMatchObject({ code: "not_found" });
      await expect(ingestion.get("docs", "a.md", call())).rejects.toMatchObject({ code: "not_found" });
    });

    it("of another tenant is not found, listed or deleted", async () => {
      const { ingestion } = start();
      await ingestion.put("docs", input("a.md", words("llama")), call());
      const other = { actor: actorOf("somebody-else"), signal };
      await expect(ingestion.get("docs", "a.md", other)).rejects.toMatchObject({ code: "not_found" });
      await expect(ingestion.delete("docs", "a.md", other)).rejects.toMatchObject({ code: "not_found" });
      await expect(ingestion.deleteCollection("docs", other)).rejects.toMatchObject({ code: "not_found" });
      await expect(ingestion.list("docs", { after: "", limit: 10 }, other)).rejects.toMatchObject({
        code: "not_found",
        message: 'there is no collection "docs"; check its name, or put a document into it, which makes it',
      });
      expect(await found("llama")).toEqual(["a.md"]);
    });

    it.each([
      ["no media type", { contentType: "" }, "unsupported-media-type"],
      ["a media type that is not read", { contentType: "image/png" }, "unsupported-media-type"],
      ["an id with a control character", { id: "a\n" }, "invalid-input"],
      ["an id that is too long", { id: "x".repeat(257) }, "invalid-input"],
      ["metadata that nothing can filter by", { metadata: { tags: ["a"] } }, "invalid-input"],
      ["an empty body", { bytes: new Uint8Array() }, "document-empty"],
      ["too many bytes", { bytes: new Uint8Array(16 * 1_048_576 + 1) }, "body-too-large"],
    ])("is refused with %s, and nothing of it is kept", async (_, fields, reason) => {
      const { ingestion } = start();
      const refused = ingestion.put("docs", input("a.md", "words", fields), call());
      await expect(refused).rejects.toMatchObject({ code: "invalid_argument", reason });
      expect(await fixture.count("knowledge_documents", mine())).toBe(0);
      expect(await fixture.count("knowledge_jobs", mine())).toBe(0);
    });

    it("in a collection of a wrong name is refused", async () => {
      const refused = start().ingestion.put("Not A Name", input("a.md", "words"), call());
      await expect(refused).rejects.toThrow(/collection: must be 1 to 64/);
    });
  });

  describe("what a tenant may have", () => {
    const fill = (table: string, columns: string, values: string, count: number) =>
      fixture.database.query(
        `INSERT INTO ${table} (tenant_id, collection, ${columns}) SELECT '${tenant}', 'docs', ${values}
         FROM generate_series(1, ${count}) AS n`,
        [],
      );
    const put = (id = "one-more") => start().ingestion.put("docs", input(id, words("llama")), call());

    it(
      "is bounded in steps that wait, and a document over it is refused, to be sent again",
      async () => {
        // Not due within the test.
        const values = "'j', 'remove', n::text, now() + interval '1 day'";
        await fill("knowledge_jobs", "job_id, kind, document_id, not_before", values, STEPS_WAITING_MAX - 1);
        await put("the-last");
        await until(
          async () => (await fixture.count("knowledge_documents", `${mine()} AND state = 'ready'`)) === 1,
        );
        await fill("knowledge_jobs", "job_id, kind, document_id, not_before", values, 1);
        await expect(put()).rejects.toMatchObject({
          ...{ code: "resource_exhausted", reason: "ingestion-full", retryable: true },
        });
        expect(await fixture.count("knowledge_documents", mine())).toBe(1);
        await fixture.database.query(`DELETE FROM knowledge_jobs WHERE ${mine()}`, []);
      },
      LIMIT_MS,
    );

    it(
      "is bounded in documents of a collection, and one over it is refused",
      async () => {
        const columns = "id, title, media_type, content_hash, size_bytes, format, text, state";
        const values = "'d' || n, 't', 'text/plain', n::text, 1, 'plain', 'x', 'ready'";
        await fill("knowledge_documents", columns, values, DOCUMENTS_MAX - 1);
        await put("the-last");
        await expect(put()).rejects.toMatchObject({ code: "resource_exhausted", reason: "collection-full" });
        await fixture.database.query(`DELETE FROM knowledge_documents WHERE ${mine()}`, []);
      },
      LIMIT_MS,
    );
  });

  describe("many documents", () => {
    it("are taken or refused each by itself, in one job, and listed a page at a time", async () => {
      const { ingestion } = start();
      const inputs = ["a", "b", "c", "d"].map((id) => input(id, words(id)));
      const { outcomes, job } = await ingestion.putMany(
        "docs",
        [...inputs, input("bad", "", { contentType: "application/pdf" })],
        call(),
      );
      expect(outcomes.map(({ status }) => status)).toEqual([
        "queued",
        "queued",
        "queued",
        "queued",
        "refused",
      ]);
      expect(outcomes[4]?.error).toMatchObject({ reason: "document-broken" });
      await until(async () => (await ingestion.getJob("docs", job?.jobId ?? "", call())).done === 4);
      const page = await ingestion.list("docs", { after: "a", limit: 2 }, call());
      expect(page.map(({ id }) => id)).toEqual(["b", "c"]);
      const again = await ingestion.putMany("docs", inputs, call());
      expect(again.outcomes.every(({ status }) => status === "unchanged")).toBe(true);
      expect(again.job).toBeUndefined();
    });

    it("go with their collection, whose name can be used again at once", async () => {
      const { ingestion } = start();
      await ingestion.putMany(
        "docs",
        ["a", "b"].map((id) => input(id, words(id))),
        call(),
      );
      const job = await ingestion.deleteCollection("docs", call());
      await until(async () => (await ingestion.getJob("docs", job.jobId, call())).finishedAtMs !== undefined);
      for (const table of ["knowledge_documents", "knowledge_chunks"]) {
        expect(await fixture.count(table, mine())).toBe(0);
      }
      await ingestion.put("docs", input("c", words("c")), call());
      expect(await found("thing", 2)).toEqual(["c"]);
      expect(await fixture.count("audit_log", `${mine()} AND action = 'collection.delete'`)).toBe(1);
    });
  });

  describe("the state of a collection", () => {
    const current = (backend: Backend, tenantId = tenant) =>
      backend.revisions.current(tenantId, "docs", signal);

    it("has another name after each document that was put, replaced or deleted, and with each new collection", async () => {
      const backend = start();
      const names = [await current(backend)];
      const changes = [
        () => backend.ingestion.put("docs", input("a.md", words("llama")), call()),
        () => backend.ingestion.put("docs", input("a.md", words("zebra")), call()),
        () => backend.ingestion.delete("docs", "a.md", call()),
        () => backend.ingestion.deleteCollection("docs", call()),
        () => backend.ingestion.put("docs", input("a.md", words("llama")), call()),
      ];
      for (const change of changes) {
        await change();
        await until(
          async () => (await fixture.count("knowledge_jobs", `${mine()} AND finished_at IS NULL`)) === 0,
        );
        await settle();
        names.push(await current(backend));
      }
      // The first one is that of no collection, and so is that of one that was deleted.
      expect(names[4]).toBe(names[0]);
      expect(new Set(names).size).toBe(5);
      expect(await current(backend)).toBe(names.at(-1));
    });

    it("has none for some seconds after a change, and stays the same when nothing was changed", async () => {
      const backend = start();
      await backend.ingestion.put("docs", input("a.md", words("llama")), call());
      expect(await current(backend)).toBeUndefined();
      await settle();
      const name = await current(backend);
      expect(name).toBeTypeOf("string");
      await backend.ingestion.put("docs", input("a.md", words("llama")), call());
      expect(await current(backend)).toBe(name);
    });

    it("is each tenant's own, and a shared collection's where the tenant has none of its name", async () => {
      const backend = start();
      await backend.ingestion.put("docs", input("a.md", words("llama")), call());
      await settle();
      const none = await current(backend, "somebody-else");
      expect(none).not.toBe(await current(backend));
      const spec = { embeddingModel: "builtin/lexical-1", dimension: 384 };
      await backend.collections.ensure(SHARED_TENANT_ID, "docs", spec);
      await settle();
      expect(await current(backend, "somebody-else")).not.toBe(none);
      await backend.collections.delete(SHARED_TENANT_ID, "docs");
    });
  });

  describe("an index that has nothing of a collection", () => {
    it("gets all of its documents, as a new generation, when a backend starts", async () => {
      const first = start();
      await first.ingestion.putMany(
        "docs",
        ["a", "b"].map((id) => input(id, words(id))),
        call(),
      );
      await first.runner.stop();
      // What a new, empty index is to the backend that starts on it.
      await fixture.database.query(`DELETE FROM knowledge_chunks WHERE ${mine()}`, []);
      const next = start();
      await until(async () => (await next.collections.find(tenant, "docs"))?.active.generation === 2);
      expect(await found("thing", 2)).toEqual(["a", "b"]);
      // The older generation is dropped as well.
      await until(
        async () => (await fixture.count("knowledge_jobs", `${mine()} AND finished_at IS NULL`)) === 0,
      );
    });

    it("is looked for among all collections, however many there are", async () => {
      const { queue } = fixture.backend();
      const { database } = fixture;
      await database.query(
        `INSERT INTO knowledge_collections (tenant_id, name, active_model, active_dimension)
         SELECT $1, 'c' || n, 'builtin/lexical-1', 32 FROM generate_series(1, 1001) n`,
        [tenant],
      );
      await database.query(
        `INSERT INTO knowledge_documents
           (tenant_id, collection, id, title, media_type, content_hash, size_bytes, format, text, chunks_count)
         SELECT tenant_id, name, 'd', '', 'text/plain', '', 0, 'plain', '', 1 FROM knowledge_collections
          WHERE tenant_id = $1`,
        [tenant],
      );
      const names = new Set<string>();
      for await (const { tenantId, collection } of queue.indexedCollections(signal)) {
        if (tenantId === tenant) names.add(collection);
      }
      for (const table of ["knowledge_documents", "knowledge_collections"]) {
        await database.query(`DELETE FROM ${table} WHERE ${mine()}`, []);
      }
      expect(names.size).toBe(1_001);
    });
  });

  describe("steps", () => {
    it("that a killed backend left are taken up by another, once its lease has run out", async () => {
      const dead = fixture.backend("builtin/lexical-1", NO_WAIT_MS);
      const put = dead.ingestion.put("docs", input("a.md", words("llama")), call());
      await until(async () => (await dead.queue.claim("")) !== undefined);
      expect((await put).outcome.document?.state).toBe("pending");
      const { taken, ingestion } = start();
      await new Promise((resolve) => setTimeout(resolve, 300));
      expect(taken).toEqual([]);
      await fixture.database.query(
        `UPDATE knowledge_jobs SET lease_until = now() - interval '1 s' WHERE ${mine()}`,
        [],
      );
      await until(async () => (await ingestion.get("docs", "a.md", call())).state === "ready");
    });

    it("are run once although two backends look for them", async () => {
      const [one, two] = [start(), start()];
      const ids = Array.from({ length: 12 }, (_, number) => `d${number}`);
      const { job } = await one.ingestion.putMany(
        "docs",
        ids.map((id) => input(id, words(id))),
        call(),
      );
      await until(
        async () => (await one.ingestion.getJob("docs", job?.jobId ?? "", call())).done === ids.length,
      );
      expect([...one.taken, ...two.taken].toSorted()).toEqual(ids.map((id) => `index ${id}`).toSorted());
    });

    it("under way are given back when their backend stops, and do not count as a try", async () => {
      const first = start("openai/small", NO_WAIT_MS);
      await first.models.current(signal);
      fixture.server.failing = true;
      await first.ingestion.put("docs", input("a.md", words("llama")), call());
      await first.runner.stop();
      expect(await fixture.count("knowledge_jobs", `${mine()} AND state = 'running'`)).toBe(0);
    });
  });

  describe("an embedding model", () => {
    it("that is gone leaves the document to be found by its words, and completes it when it is back", async () => {
      const { ingestion, models } = start("openai/small", NO_WAIT_MS);
      await models.current(signal);
      fixture.server.failing = true;
      const { job } = await ingestion.put("docs", input("a.md", words("llama")), call());
      await until(async () => (await ingestion.get("docs", "a.md", call())).state === "words-only");
      expect((await ingestion.get("docs", "a.md", call())).chunksCount).toBeGreaterThan(0);
      const { problems } = await ingestion.getJob("docs", job?.jobId ?? "", call());
      expect(problems).toMatchObject([{ documentId: "a.md" }]);
      expect(await found("llama", 1, undefined)).toEqual(["a.md"]);
      fixture.server.failing = false;
      await until(async () => (await ingestion.get("docs", "a.md", call())).state === "ready");
    });

    it("that cannot be asked at all makes no collection, and says so", async () => {
      fixture.server.failing = true;
      const put = start("openai/small").ingestion.put("docs", input("a.md", words("llama")), call());
      await expect(put).rejects.toMatchObject({ code: "unavailable", reason: "embedding-unavailable" });
    });

    it("that takes shorter texts than a chunk gets the beginning of each", async () => {
      const { ingestion, models } = start("openai/small");
      await models.current(signal);
      fixture.server.charactersMax = 500;
      const { outcome } = await ingestion.put("docs", input("a.md", words("llama", 100)), call());
      expect(outcome.document).toMatchObject({ state: "ready" });
    });

    it(
      "that is changed builds the collection anew beside the old one, which answers until the switch",
      async () => {
        const old = start("openai/small");
        await old.ingestion.putMany(
          "docs",
          ["a", "b", "c"].map((id) => input(id, words(id))),
          call(),
        );
        await until(
          async () => (await fixture.count("knowledge_documents", `${mine()} AND state = 'ready'`)) === 3,
        );
        await old.runner.stop();
        fixture.server.failing = true;
        const next = fixture.backend("openai/large");
        backends.push(next);
        fixture.server.failing = false;
        await next.models.current(signal);
        fixture.server.failing = true;
        next.runner.start();
        await until(async () => (await next.collections.find(tenant, "docs"))?.building !== undefined);
        expect(await found("thing", 1, undefined)).toEqual(["a", "b", "c"]);
        expect((await next.collections.find(tenant, "docs"))?.active.embeddingModel).toBe("openai/small");
        fixture.server.failing = false;
        await until(async () => (await next.collections.find(tenant, "docs"))?.active.generation === 2);
        const collection = await next.collections.find(tenant, "docs");
        expect(collection?.active).toEqual({ generation: 2, embeddingModel: "openai/large", dimension: 64 });
        await until(
          async () => (await fixture.count("knowledge_chunks", `${mine()} AND generation = 1`)) === 0,
        );
        expect(await found("thing", 2, undefined)).toEqual(["a", "b", "c"]);
        expect(
          (await next.ingestion.put("docs", input("d", words("d")), call())).outcome.document?.state,
        ).toBe("ready");
      },
      LIMIT_MS,
    );
  });
}
