/** The index in a real Milvus (Milvus Lite), and what becomes of calls when it goes away. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { MilvusConnection } from "../../../backend/knowledge/milvus-connection.ts";
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

  it("is not asked to prove itself before it is needed: nobody listens, and nothing fails but the call", async () => {
    const absent = new MilvusConnection({ address: "127.0.0.1:1", token: undefined });
    const unreachable = new MilvusVectorIndex({ connection: absent, now });
    const scope = { tenantId: "acme", collection: "none", generation: 1 };
    await expect(unreachable.countChunks(scope, signal)).rejects.toMatchObject({ code: "unavailable" });
    await absent.close();
  });
});
