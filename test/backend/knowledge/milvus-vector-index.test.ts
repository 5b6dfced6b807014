/** The index in a real Milvus (Milvus Lite), and what becomes of calls when it goes away. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { EmbeddedChunk } from "../../../backend/knowledge/chunk.ts";
import { type MilvusCall, MilvusConnection } from "../../../backend/knowledge/milvus-connection.ts";
import { MilvusVectorIndex } from "../../../backend/knowledge/milvus-vector-index.ts";
import { embedLexically } from "../../../backend/llm/builtin-embedding-model.ts";
import { embeddedChunk } from "../../support/knowledge.ts";
import { startMilvus, type TestMilvus } from "../../support/milvus.ts";
import { requirement } from "../../support/requirements.ts";
import { metadataFilterContract } from "./metadata-filter.contract.ts";
import { vectorIndexContract } from "./vector-index.contract.ts";

const START_TIMEOUT_MS = 120_000;
const signal = new AbortController().signal;
const now = () => performance.now();

/** A connection that notes which calls are made; `version` is what the server says instead of its own. */
class NotingConnection extends MilvusConnection {
  readonly calls: string[] = [];
  version: string | undefined;

  override async call<T extends object>(
    make: MilvusCall<T>,
    abort: AbortSignal,
    timeoutMs?: number,
  ): Promise<T> {
    const note = (name: string) => this.calls.push(name);
    const noted: MilvusCall<T> = (client, ...rest) =>
      make(
        new Proxy(client, {
          get(target, name) {
            note(String(name));
            const member: unknown = Reflect.get(target, name);
            return typeof member === "function" ? member.bind(target) : member;
          },
        }),
        ...rest,
      );
    const answer = await super.call(noted, abort, timeoutMs);
    return this.version !== undefined && "version" in answer ? { ...answer, version: this.version } : answer;
  }

  count(name: string): number {
    return this.calls.filter((each) => each === name).length;
  }
}

const ofBusy = (chunk: EmbeddedChunk): EmbeddedChunk => ({ ...chunk, documentId: "busy" });

/** Chunks of one document, each with a word of its own. */
function manyChunks(documentId: string, count: number): EmbeddedChunk[] {
  return Array.from({ length: count }, (_, ordinal) =>
    embeddedChunk(documentId, `word${documentId}x${ordinal} among others`, { ordinal }),
  );
}

describe.skipIf(!requirement("milvus").available)("Milvus as index", () => {
  let server: TestMilvus;
  let connection: MilvusConnection;
  let index: MilvusVectorIndex;

  beforeAll(async () => {
    server = await startMilvus();
    connection = new MilvusConnection({ address: server.address, token: undefined });
    index = new MilvusVectorIndex({ connection, now, consistency: "Strong" });
  }, START_TIMEOUT_MS);

  afterAll(async () => {
    await connection?.close();
    await server?.stop();
  }, START_TIMEOUT_MS);

  vectorIndexContract(() => index);
  metadataFilterContract(() => index);

  it(
    "is unavailable, to be tried again, while it stands still or is dead, and works when it is back",
    async () => {
      const scope = { tenantId: "acme", collection: "outage", generation: 1 };
      await index.prepare(scope, 384, signal);
      await index.replaceDocument(scope, "doc", [embeddedChunk("doc", "flour")], signal);
      const search = (timeoutMs: number) =>
        index.search(
          { scope, query: "flour", embedding: embedLexically("flour"), limit: 5 },
          AbortSignal.timeout(timeoutMs),
        );
      const unavailable = { code: "unavailable", retryable: true };

      server.pause();
      await expect(search(300)).rejects.toMatchObject(unavailable);
      server.resume();
      await expect.poll(() => search(5_000), { timeout: 30_000 }).toHaveLength(1);

      await server.kill();
      await expect(search(5_000)).rejects.toMatchObject(unavailable);
      await server.restart();
      await expect.poll(() => search(5_000).catch(() => []), { timeout: 30_000 }).toHaveLength(1);
    },
    START_TIMEOUT_MS,
  );

  describe("of Milvus Lite", () => {
    const noting = async (run: (connection: NotingConnection, clock: { ms: number }) => Promise<void>) => {
      const noted = new NotingConnection({ address: server.address, token: undefined });
      await run(noted, { ms: 0 }).finally(() => noted.close());
    };
    const scope = { tenantId: "acme", collection: "flushes", generation: 1 };
    const search = (searched: MilvusVectorIndex, query: string) =>
      searched.search({ scope, query, embedding: embedLexically(query), limit: 3 }, signal);

    it("flushes what was left before, what was written a second before a search, and every 512 rows", async () => {
      await noting(async (noted, clock) => {
        const flushing = new MilvusVectorIndex({ connection: noted, now: () => clock.ms });
        await flushing.prepare(scope, 384, signal);
        await search(flushing, "wordlitex1");
        // One for each dimension that other tests have left.
        const first = noted.count("flush");
        expect(first).toBeGreaterThanOrEqual(1);
        const flushes = () => noted.count("flush") - first;

        await flushing.replaceDocument(scope, "lite", manyChunks("lite", 511), signal);
        clock.ms += 999;
        await search(flushing, "wordlitex1");
        expect(flushes()).toBe(0);
        clock.ms += 1;
        const [best] = await search(flushing, "wordlitex1");
        expect(best?.chunk.text).toContain("wordlitex1 ");
        await search(flushing, "wordlitex1");
        expect(flushes()).toBe(1);

        await flushing.replaceDocument(scope, "more", manyChunks("more", 512), signal);
        expect(flushes()).toBe(2);
        expect(await flushing.countChunks(scope, signal)).toBe(1_023);
        await flushing.dropScope(scope, signal);
        await search(flushing, "wordlitex1");
        expect(flushes()).toBe(3);
      });
    });

    it("finds all that was there in every search while much is replaced and flushed", async () => {
      await noting(async (noted) => {
        const flushing = new MilvusVectorIndex({ connection: noted, now });
        await flushing.prepare(scope, 384, signal);
        await flushing.replaceDocument(scope, "stays", manyChunks("stays", 1), signal);
        let isWritten = false;
        const writing = async () => {
          for (let round = 0; round < 4; round++) {
            await flushing.replaceDocument(scope, "stays", manyChunks("stays", 1 + (round % 2)), signal);
            await flushing.replaceDocument(
              scope,
              "busy",
              manyChunks(`busy${round}`, 512).map(ofBusy),
              signal,
            );
          }
          isWritten = true;
        };
        const found: boolean[] = [];
        const looking = async () => {
          while (!isWritten) {
            const candidates = await search(flushing, "wordstaysx0");
            found.push(candidates.some(({ lexical, chunk }) => lexical && chunk.documentId === "stays"));
          }
        };
        await Promise.all([writing(), looking(), looking()]);
        expect(found.length).toBeGreaterThan(4);
        expect(found).not.toContain(false);
        expect(noted.count("flush")).toBeGreaterThanOrEqual(4);
        await flushing.dropScope(scope, signal);
      });
    });

    it("leaves a full Milvus to flush when it sees fit", async () => {
      await noting(async (noted, clock) => {
        noted.version = "v2.6.14";
        const full = new MilvusVectorIndex({ connection: noted, now: () => clock.ms });
        await full.prepare(scope, 384, signal);
        await full.replaceDocument(scope, "full", manyChunks("full", 600), signal);
        clock.ms += 5_000;
        await search(full, "wordfullx1");
        expect(noted.count("upsert")).toBe(6);
        expect(noted.count("flush")).toBe(0);
        await full.dropScope(scope, signal);
      });
    });
  });

  it("is not asked to prove itself before it is needed: nobody listens, and nothing fails but the call", async () => {
    const absent = new MilvusConnection({ address: "127.0.0.1:1", token: undefined });
    const unreachable = new MilvusVectorIndex({ connection: absent, now });
    const scope = { tenantId: "acme", collection: "none", generation: 1 };
    await expect(unreachable.countChunks(scope, signal)).rejects.toMatchObject({ code: "unavailable" });
    await absent.close();
  });
});
