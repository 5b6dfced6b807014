/** What every index of chunks guarantees. Runs in scopes of its own, so that an index may hold more. */
import { randomUUID } from "node:crypto";
import { describe, expect, it } from "vitest";
import type { MetadataFilter } from "../../../backend/knowledge/metadata-filter.ts";
import type { Candidate, IndexScope, VectorIndex } from "../../../backend/knowledge/vector-index.ts";
import {
  BUILTIN_EMBEDDING_DIMENSION as DIMENSION,
  embedLexically,
} from "../../../backend/llm/builtin-embedding-model.ts";
import { embeddedChunk, testChunk } from "../../support/knowledge.ts";

const signal = new AbortController().signal;
const OLLAMA = "Set OLLAMA_HOST to the address of the Ollama server.";
const PANCAKES = "Pancakes need flour, milk and eggs.";
const ERROR = "The error ERR-4711 means that the disk is full.";

const ids = (candidates: readonly Candidate[]) => candidates.map(({ chunk }) => chunk.documentId).sort();
/** Best first, of one way. */
const ranked = (candidates: readonly Candidate[], way: "dense" | "lexical") =>
  candidates
    .filter((candidate) => candidate[way])
    .sort((a, b) => (a[way]?.rank ?? 0) - (b[way]?.rank ?? 0))
    .map(({ chunk }) => chunk.documentId);

export function vectorIndexContract(getIndex: () => VectorIndex): void {
  const newScope = (fields: Partial<IndexScope> = {}): IndexScope => ({
    tenantId: `tenant-${randomUUID()}`,
    collection: "manuals",
    generation: 1,
    ...fields,
  });
  const prepared = async (fields: Partial<IndexScope> = {}) => {
    const scope = newScope(fields);
    await getIndex().prepare(scope, DIMENSION, signal);
    return scope;
  };
  const store = (scope: IndexScope, documentId: string, ...texts: string[]) =>
    getIndex().replaceDocument(
      scope,
      documentId,
      texts.map((text, ordinal) => embeddedChunk(documentId, text, { ordinal })),
      signal,
    );
  const search = (scope: IndexScope, query: string, filter?: MetadataFilter, limit = 10) =>
    getIndex().search({ scope, query, embedding: embedLexically(query), limit, filter }, signal);
  const stocked = async () => {
    const scope = await prepared();
    await store(scope, "ollama", OLLAMA);
    await store(scope, "pancakes", PANCAKES);
    await store(scope, "error", ERROR);
    return scope;
  };

  describe("an index of chunks", () => {
    it("finds a chunk by its words and by its vector, and gives it back as it was stored", async () => {
      const scope = await prepared();
      const chunk = embeddedChunk("docs/a.md", "Ünïcode “quotes” \\ and\n\ttabs: configure Ollama 🦙", {
        title: 'Title\'s "own"',
        headings: ["Setup", "知識"],
        ordinal: 7,
        startOffset: 1_000,
        metadata: { source: "it's", pages: 12.5, public: true },
      });
      await getIndex().replaceDocument(scope, "docs/a.md", [chunk], signal);
      const [candidate, ...others] = await search(scope, "configure Ollama");
      expect(others).toEqual([]);
      const { embedding, ...stored } = chunk;
      expect(candidate?.chunk).toEqual(stored);
      expect(candidate?.dense).toMatchObject({ rank: 1 });
      expect(candidate?.dense?.score).toBeGreaterThan(0.2);
      expect(candidate?.lexical).toMatchObject({ rank: 1 });
      expect(candidate?.lexical?.score).toBeGreaterThan(0);
    });

    it("gives the cosine as the dense score, and ranks by it", async () => {
      const scope = await stocked();
      const found = await search(scope, "What does ERR-4711 mean?");
      expect(ranked(found, "dense")[0]).toBe("error");
      const expected = cosine(
        embedLexically("What does ERR-4711 mean?"),
        embedLexically(`Title\n\n${ERROR}`),
      );
      const best = found.find(({ chunk }) => chunk.documentId === "error");
      expect(best?.dense?.score).toBeCloseTo(expected, 4);
      const ranks = found.flatMap(({ dense }) => (dense ? [dense.rank] : [])).sort();
      expect(ranks).toEqual([1, 2, 3]);
    });

    it("finds by words only what has one of them, rare words first", async () => {
      const scope = await stocked();
      await store(scope, "other-error", "An error is an error: error, error.");
      const found = await search(scope, "which error is ERR-4711");
      expect(ranked(found, "lexical")).toEqual(["error", "other-error"]);
      expect(ranked(await search(scope, "giraffe"), "lexical")).toEqual([]);
    });

    it.each([
      ["an identifier", "ERR-4711", "error"],
      ["an identifier written otherwise", "err_4711", "error"],
      ["part of an identifier", "4711", "error"],
      ["a variable", "OLLAMA_HOST", "ollama"],
      ["a word in another case", "FLOUR", "pancakes"],
      ["a plural", "servers", "ollama"],
    ])("finds %s by its words", async (_, query, documentId) => {
      expect(ranked(await search(await stocked(), query), "lexical")).toEqual([documentId]);
    });

    it("finds words of scripts without spaces", async () => {
      const scope = await stocked();
      await store(scope, "knowledge", "知識は力なり。");
      expect(ranked(await search(scope, "知識"), "lexical")).toEqual(["knowledge"]);
    });

    it("searches by words alone without a vector, and by vector alone without words", async () => {
      const scope = await stocked();
      const words = await getIndex().search(
        { scope, query: "flour", embedding: undefined, limit: 5 },
        signal,
      );
      expect(words).toMatchObject([{ chunk: { documentId: "pancakes" }, dense: undefined }]);
      const embedding = embedLexically("flour");
      const [best] = (await getIndex().search({ scope, query: "?!", embedding, limit: 1 }, signal)) ?? [];
      expect(best).toMatchObject({ chunk: { documentId: "pancakes" }, lexical: undefined });
      expect(await getIndex().search({ scope, query: " ", embedding: undefined, limit: 5 }, signal)).toEqual(
        [],
      );
    });

    it("keeps a chunk without a vector, which its words find", async () => {
      const scope = await stocked();
      const chunk = { ...testChunk("bare", "A zebra without a vector."), embedding: undefined };
      await getIndex().replaceDocument(scope, "bare", [chunk], signal);
      const found = await search(scope, "zebra");
      expect(found.find(({ chunk: { documentId } }) => documentId === "bare")).toMatchObject({
        dense: undefined,
        lexical: { rank: 1 },
      });
    });

    it("returns at most the limit of each way, and each chunk once", async () => {
      const scope = await prepared();
      await store(scope, "many", ...Array.from({ length: 30 }, (_, n) => `flour number ${n}`));
      const found = await search(scope, "flour", undefined, 4);
      expect(found.filter(({ dense }) => dense)).toHaveLength(4);
      expect(found.filter(({ lexical }) => lexical)).toHaveLength(4);
      expect(new Set(found.map(({ chunk }) => chunk.chunkId)).size).toBe(found.length);
    });

    it.each([0, 1.5, 201])("refuses a limit of %d", async (limit) => {
      await expect(search(newScope(), "flour", undefined, limit)).rejects.toMatchObject({
        code: "invalid_argument",
      });
    });

    it("holds nothing where nothing was stored", async () => {
      const scope = newScope();
      expect(await search(scope, "flour")).toEqual([]);
      expect(await getIndex().countChunks(scope, signal)).toBe(0);
      await getIndex().deleteDocument(scope, "none", signal);
      await getIndex().dropScope(scope, signal);
    });

    it("prepares a scope as often as one likes, at once", async () => {
      const scope = newScope();
      await Promise.all([1, 2, 3].map(() => getIndex().prepare(scope, DIMENSION, signal)));
      await store(scope, "a", "flour");
      expect(ids(await search(scope, "flour"))).toEqual(["a"]);
    });

    it.each([0, 2_001, 3.5])("refuses a dimension of %d", async (dimension) => {
      await expect(getIndex().prepare(newScope(), dimension, signal)).rejects.toMatchObject({
        code: "invalid_argument",
        reason: "dimension",
      });
    });

    it("holds scopes of different dimensions side by side", async () => {
      const [scope, small] = [await stocked(), newScope()];
      await getIndex().prepare(small, 3, signal);
      const chunk = { ...testChunk("small", PANCAKES), embedding: Float32Array.of(0, 0.6, 0.8) };
      await getIndex().replaceDocument(small, "small", [chunk], signal);
      const embedding = Float32Array.of(0, 0, 2);
      const found = await getIndex().search({ scope: small, query: "", embedding, limit: 5 }, signal);
      expect(found).toMatchObject([{ chunk: { documentId: "small" }, dense: { rank: 1 } }]);
      expect(found[0]?.dense?.score).toBeCloseTo(0.8, 4);
      expect(ids(await search(scope, "flour"))).not.toContain("small");
    });

    it("rejects with the signal's reason, or as canceled, when it has aborted", async () => {
      const scope = await stocked();
      const aborted = AbortSignal.abort(new Error("enough"));
      await expect(
        getIndex().search({ scope, query: "flour", embedding: undefined, limit: 5 }, aborted),
      ).rejects.toThrow();
    });
  });

  describe("replacing and deleting", () => {
    it("leaves nothing of the old version, whether it had more chunks or fewer", async () => {
      const scope = await stocked();
      await store(scope, "doc", "first flour", "second flour", "third flour");
      await store(scope, "doc", "only barley");
      expect(await getIndex().countChunks(scope, signal)).toBe(4);
      expect(ranked(await search(scope, "flour"), "lexical")).toEqual(["pancakes"]);
      await store(scope, "doc", "rye", "oats", "barley");
      expect(await getIndex().countChunks(scope, signal)).toBe(6);
    });

    it("changes nothing when the same version comes again, and takes new metadata", async () => {
      const scope = await stocked();
      const chunk = embeddedChunk("doc", "barley", { metadata: { version: 1 } });
      for (const version of [1, 1, 2]) {
        const metadata = { version };
        await getIndex().replaceDocument(scope, "doc", [{ ...chunk, metadata }], signal);
      }
      expect(await getIndex().countChunks(scope, signal)).toBe(4);
      const [found] = (await search(scope, "barley")).filter(({ lexical }) => lexical);
      expect(found?.chunk.metadata).toEqual({ version: 2 });
    });

    it("is seen by searches as the old version, the new one or both, never neither", async () => {
      const scope = await prepared();
      await store(scope, "doc", "flour version 0");
      let done = false;
      const replacing = (async () => {
        for (let version = 1; version <= 10; version++) await store(scope, "doc", `flour version ${version}`);
        done = true;
      })();
      const seen: number[] = [];
      while (!done) seen.push((await search(scope, "flour")).length);
      await replacing;
      expect(seen.length).toBeGreaterThan(0);
      expect(Math.min(...seen)).toBeGreaterThan(0);
      expect((await search(scope, "flour")).map(({ chunk }) => chunk.text)).toEqual(["flour version 10"]);
    });

    it("takes a document of many chunks whole", async () => {
      const scope = await prepared();
      const texts = Array.from({ length: 450 }, (_, n) => `word${n} of a long document`);
      await store(scope, "long", ...texts);
      expect(await getIndex().countChunks(scope, signal)).toBe(450);
      for (const n of [0, 63, 64, 449]) {
        expect((await search(scope, `word${n}`)).map(({ chunk }) => chunk.ordinal)).toContain(n);
      }
      await store(scope, "long", ...texts.slice(0, 70));
      expect(await getIndex().countChunks(scope, signal)).toBe(70);
    });

    it("refuses more chunks than a document may have, and leaves the old version", async () => {
      const scope = await stocked();
      const chunk = { ...testChunk("pancakes", "x"), embedding: undefined };
      const chunks = new Array(20_001).fill(chunk);
      await expect(getIndex().replaceDocument(scope, "pancakes", chunks, signal)).rejects.toMatchObject({
        code: "invalid_argument",
        reason: "document-too-large",
      });
      expect(await getIndex().countChunks(scope, signal)).toBe(3);
    });

    it("deletes a document, also by an empty list, and no other", async () => {
      const scope = await stocked();
      await getIndex().deleteDocument(scope, "pancakes", signal);
      await getIndex().replaceDocument(scope, "error", [], signal);
      expect(ids(await search(scope, "flour error Ollama"))).toEqual(["ollama"]);
    });

    it("stores what engines cannot hold as the replacement character", async () => {
      const scope = await prepared();
      await store(scope, "doc", "flour\0 and \ud800 half");
      const [found] = await search(scope, "flour");
      expect(found?.chunk.text).toBe("flour\ufffd and \ufffd half");
    });
  });

  describe("a scope", () => {
    it("never shows, counts or deletes what is in another, be it of the same name, the same document, the same text", async () => {
      const own = await prepared();
      const others = [
        await prepared(),
        await prepared({ tenantId: own.tenantId, collection: "other" }),
        await prepared({ tenantId: own.tenantId, generation: 2 }),
      ];
      for (const scope of [own, ...others]) await store(scope, "doc", PANCAKES);
      await store(own, "secret", "The secret ingredient is cardamom.");
      for (const other of others) {
        expect(ids(await search(other, "secret ingredient cardamom"))).toEqual(["doc"]);
        expect(await getIndex().countChunks(other, signal)).toBe(1);
        await getIndex().deleteDocument(other, "secret", signal);
        await getIndex().deleteDocument(other, "doc", signal);
      }
      expect(ids(await search(own, "cardamom flour"))).toEqual(["doc", "secret"]);
    });

    it("is dropped by generation, or all generations at once", async () => {
      const first = await stocked();
      const second = await prepared({ ...first, generation: 2 });
      const third = await prepared({ ...first, generation: 3 });
      const other = await prepared({ ...first, collection: "other" });
      for (const scope of [second, third, other]) await store(scope, "doc", PANCAKES);
      await getIndex().dropScope(second, signal);
      const counts = async () =>
        Promise.all([first, second, third, other].map((scope) => getIndex().countChunks(scope, signal)));
      expect(await counts()).toEqual([3, 0, 1, 1]);
      await getIndex().dropScope({ tenantId: first.tenantId, collection: first.collection }, signal);
      expect(await counts()).toEqual([0, 0, 0, 1]);
    });
  });
}

function cosine(a: Float32Array, b: Float32Array): number {
  return a.reduce((sum, number, index) => sum + number * (b[index] ?? 0), 0);
}
