/**
 * Knowledge in a real Milvus, with an embedding server, through the whole gateway: documents in and out, by HTTP and by
 * the command line; both servers gone and back; and the move from one index to another.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Gateway, startGateway } from "../support/gateway.ts";
import { startMilvus, type TestMilvus } from "../support/milvus.ts";
import { type OpenaiDouble, startOpenaiDouble } from "../support/openai-double.ts";
import { requirement } from "../support/requirements.ts";
import { admin, api, eventually } from "./administration-client.ts";
import { ask, type Json } from "./ask.ts";

const LIMIT_MS = 240_000;
/** Callers at once, and what each waits between two questions: below the limit of requests of the one key. */
const CALLERS = 6;
const PAUSE_MS = 250;
const PHASE_MS = 4_000;
const HANDBOOK = "/api/v1/knowledge/handbook";
const question = { receiverId: "handbook", text: "How many days of holiday do we have?" };

let milvus: TestMilvus;
let embeddings: OpenaiDouble;
let gateway: Gateway;

const environment = () => ({
  OPENAI_BASE_URL: embeddings.baseUrl,
  EMBEDDING_MODEL: "openai/text-embedding-3-small",
});
const search = async (collection: string, query: string) =>
  (await api(gateway, `POST /api/v1/knowledge/${collection}/search`, { body: { query } })).body;
const found = async (collection: string, query: string): Promise<string[]> =>
  ((await search(collection, query)).passages ?? []).map(({ documentId }: Json) => documentId);
const put = (id: string, text: string) =>
  api(gateway, `PUT ${HANDBOOK}/documents/${id}`, {
    body: text,
    headers: { "content-type": "text/markdown" },
  });
const knowledgeOf = async () => (await ask(gateway, question)).body?.metadata?.knowledge;
const isComplete = async () => (await knowledgeOf()) === "complete";

describe.skipIf(!requirement("milvus").available)("a gateway with Milvus and an embedding server", () => {
  beforeAll(async () => {
    [milvus, embeddings] = await Promise.all([startMilvus(), startOpenaiDouble()]);
    gateway = await startGateway({ environment: { ...environment(), MILVUS_ADDRESS: milvus.address } });
    const config = {
      ...{ kind: "model", models: [{ provider: "builtin" }], presetReply: "Ask Ann." },
      knowledge: { collection: "handbook" },
    };
    const agent = { body: { id: "handbook", name: "Handbook", config } };
    expect((await api(gateway, "POST /api/v1/agents", agent)).status).toBeLessThan(300);
    await put("holidays", "# Holidays\n\nEverybody has 28 days of holiday a year.");
    await eventually(60_000, isComplete);
  }, LIMIT_MS);

  afterAll(async () => {
    await gateway?.stop();
    gateway?.remove();
    await embeddings?.close().catch(() => undefined);
    await milvus?.stop();
  }, LIMIT_MS);

  it(
    "takes documents in, finds, replaces and deletes them there, and has none of them in its database",
    async () => {
      expect(await found("handbook", "days of holiday")).toEqual(["holidays"]);
      await put("parking", "# Parking\n\nBicycles stand in the garage.");
      await eventually(30_000, async () => (await found("handbook", "where do bicycles stand")).length > 0);
      await put("parking", "# Parking\n\nScooters stand in the yard.");
      await eventually(30_000, async () => (await found("handbook", "where do scooters stand")).length > 0);
      expect(JSON.stringify(await search("handbook", "bicycles stand"))).not.toContain("Bicycles");
      expect((await api(gateway, `DELETE ${HANDBOOK}/documents/parking`)).status).toBeLessThan(300);
      await eventually(30_000, async () => (await found("handbook", "where do scooters stand")).length === 0);
      const [row] = await gateway.database.query<{ n: number }>(
        "SELECT count(*)::int AS n FROM knowledge_chunks",
        [],
      );
      expect(row?.n).toBe(0);
    },
    LIMIT_MS,
  );

  it(
    "has its guide there, too",
    async () => {
      // Which passage comes first is not the question here: the double's embeddings know nothing of meaning.
      const isTold = async () => {
        const { body } = await ask(gateway, { receiverId: "guide", text: "How do I configure Ollama?" });
        return (
          body.metadata.knowledge === "complete" && body.metadata.citations[0]?.documentId.endsWith(".md")
        );
      };
      await eventually(60_000, isTold);
    },
    LIMIT_MS,
  );

  it(
    "indexes there what the command line puts, deletes and drops",
    async () => {
      const folder = mkdtempSync(join(tmpdir(), "parley-documents-"));
      writeFileSync(join(folder, "alpacas.md"), "# Alpacas\n\nAlpacas hum when they are content.");
      writeFileSync(join(folder, "zebras.md"), "# Zebras\n\nZebras bark at strangers.");
      const ingested = await admin(gateway, "knowledge", "ingest", folder, "--collection", "zoo");
      rmSync(folder, { recursive: true });
      expect(ingested).toMatchObject({ files: 2, indexed: 2 });
      expect(await found("zoo", "when do alpacas hum")).toEqual(["alpacas.md"]);
      await admin(gateway, "knowledge", "delete", "alpacas.md", "--collection", "zoo");
      expect(await found("zoo", "when do alpacas hum")).toEqual([]);
      expect(await found("zoo", "who do zebras bark at")).toEqual(["zebras.md"]);
      await admin(gateway, "knowledge", "drop", "zoo");
      expect(await found("zoo", "who do zebras bark at")).toEqual([]);
    },
    LIMIT_MS,
  );

  it(
    "answers every question without passages, saying so, while Milvus hangs or is dead, asks it rarely, and finds it back",
    async () => {
      const outages: Record<string, (() => unknown) | undefined> = {
        "as it should be": undefined,
        "standing still": milvus.pause,
        dead: milvus.kill,
      };
      for (const [phase, begin] of Object.entries(outages)) {
        await begin?.();
        const { replies, indexFailures, counted } = await underLoad();
        console.info(`Milvus ${phase}: ${counted}, failures of the index in the log: ${indexFailures}`);
        expect(replies.filter(({ status }) => status !== 200)).toEqual([]);
        const states = new Set(replies.map(({ knowledge }) => knowledge));
        expect([...states]).toEqual([begin ? "unavailable" : "complete"]);
        if (!begin) continue;
        for (const { text } of replies) expect(text).toMatch(/cannot be searched at the moment\. Ask Ann\.$/);
        // What was under way when it went, the failures that open the breaker, and its probes; the others ask nothing.
        expect(indexFailures).toBeLessThanOrEqual(CALLERS + 3 + 3);
        expect(replies.length).toBeGreaterThan(CALLERS + 3 + 3);
      }
      await milvus.restart();
      console.info(`Milvus is found back after ${await eventually(60_000, isComplete)} ms`);
    },
    LIMIT_MS,
  );

  it(
    "finds by words alone while the embedding server is gone, saying so, and by both when it is back",
    async () => {
      const port = Number(new URL(embeddings.baseUrl).port);
      await embeddings.close();
      for (let round = 0; round < 6; round++) {
        const { status, body } = await ask(gateway, question);
        expect(status).toBe(200);
        expect(body.metadata).toMatchObject({
          knowledge: "words-only",
          citations: [{ documentId: "holidays" }],
        });
        expect(body.text).toContain("28 days of holiday");
      }
      expect(await search("handbook", "days of holiday")).toMatchObject({ state: "words-only" });
      await embeddings.listen(port);
      await eventually(60_000, isComplete);
    },
    LIMIT_MS,
  );

  it(
    "builds its collections anew when it is started on another index",
    async () => {
      await gateway.stop();
      const { dataDirectory } = gateway;
      gateway = await startGateway({ environment: environment(), dataDirectory });
      await eventually(60_000, isComplete);
      const rows = await gateway.database.query<{ n: number }>(
        "SELECT count(*)::int AS n FROM knowledge_chunks WHERE tenant_id = 'default'",
        [],
      );
      expect(rows).toEqual([{ n: 1 }]);
    },
    LIMIT_MS,
  );
});

interface Reply {
  readonly status: number;
  readonly knowledge: string;
  readonly text: string;
  readonly durationMs: number;
}

/** What callers get in a while, and how often the backend said that the index failed. */
async function underLoad() {
  const before = indexFailuresLogged();
  const replies: Reply[] = [];
  const until = performance.now() + PHASE_MS;
  const caller = async () => {
    while (performance.now() < until) {
      const startedAtMs = performance.now();
      const { status, body } = await ask(gateway, question);
      const durationMs = performance.now() - startedAtMs;
      replies.push({ status, knowledge: body.metadata?.knowledge, text: body.text, durationMs });
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  };
  await Promise.all(Array.from({ length: CALLERS }, caller));
  const sorted = replies.map(({ durationMs }) => Math.round(durationMs)).toSorted((a, b) => a - b);
  const quantile = (share: number) => sorted[Math.floor(share * (sorted.length - 1))];
  const counted = `${replies.length} replies, p50 ${quantile(0.5)} ms, p95 ${quantile(0.95)} ms, longest ${quantile(1)} ms`;
  return { replies, counted, indexFailures: indexFailuresLogged() - before };
}

function indexFailuresLogged(): number {
  return gateway.logs("backend").filter(({ msg }) => msg === "knowledge: the index does not answer").length;
}
