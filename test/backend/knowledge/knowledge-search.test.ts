/** Search over a real index: what is found, in which order, for whom, and when there is nothing. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { KnowledgeSearch } from "../../../backend/knowledge/knowledge-search.ts";
import { PostgresVectorIndex } from "../../../backend/knowledge/postgres-vector-index.ts";
import { readProjectDocuments } from "../../../backend/knowledge/project-documents.ts";
import { SHARED_TENANT_ID, type VectorIndex } from "../../../backend/knowledge/vector-index.ts";
import {
  BUILTIN_EMBEDDING_DIMENSION,
  BUILTIN_EMBEDDING_MODEL_ID,
  BuiltinEmbeddingModel,
} from "../../../backend/llm/builtin-embedding-model.ts";
import { BuiltinLanguageModel } from "../../../backend/llm/builtin-language-model.ts";
import type { EmbeddingModel } from "../../../backend/llm/embedding-model.ts";
import { PgliteSqlClient } from "../../../backend/stores/pglite-sql-client.ts";
import { SqlCollectionStore } from "../../../backend/stores/sql-collection-store.ts";
import { ParleyError } from "../../../core/errors/parley-error.ts";
import { copyEmptyDatabase } from "../../support/database-template.ts";
import { collect, modelRequest, textOf } from "../../support/model-events.ts";
import { PROJECT_DIRECTORY } from "../../support/project-files.ts";
import { indexDocuments, type TestDocument } from "../../support/project-knowledge.ts";

const BOOT_TIMEOUT_MS = 120_000;
const signal = new AbortController().signal;
const SPEC = { embeddingModel: BUILTIN_EMBEDDING_MODEL_ID, dimension: BUILTIN_EMBEDDING_DIMENSION };
const HOLIDAYS = "# Holidays\n\nEverybody has 28 days of holiday a year, to be taken until March.";
let folder = "";
let database: PgliteSqlClient;
let index: PostgresVectorIndex;
let collections: SqlCollectionStore;

async function stock(tenantId: string, name: string, documents: readonly TestDocument[]) {
  const { active } = await collections.ensure(tenantId, name, SPEC);
  const scope = { tenantId, collection: name, generation: active.generation };
  await indexDocuments(index, scope, documents);
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "parley-search-"));
  await copyEmptyDatabase(join(folder, "postgres"));
  database = await PgliteSqlClient.open({
    dataDirectory: join(folder, "postgres"),
    onEvent: (event) => {
      throw new Error(`unexpected: ${JSON.stringify(event)}`);
    },
  });
  const now = () => performance.now();
  index = new PostgresVectorIndex({ database, now, onMissing: () => undefined });
  collections = new SqlCollectionStore(database);
  const { documents } = await readProjectDocuments(PROJECT_DIRECTORY);
  await stock(SHARED_TENANT_ID, "parley-docs", documents);
  await stock("acme", "hr", [
    { id: "holidays", text: HOLIDAYS, metadata: { year: 2026 } },
    { id: "holidays-copy", text: `${HOLIDAYS}\n`, metadata: { year: 2025 } },
    { id: "holidays-draft", text: HOLIDAYS.replace("March", "April"), metadata: { year: 2026 } },
    {
      id: "parking",
      text: "# Parking\n\nThe garage is under the building; ask at the desk for holiday cover.",
    },
  ]);
  await stock("acme", "outlines", [
    {
      id: "faq",
      text: "# What is the frabjous limit?\n## Forty two calloohs\n# Who owns callay?\n## Team Tulgey",
    },
    { id: "long", text: Array.from({ length: 3_000 }, (_, n) => `# H${n}`).join("\n") },
  ]);
}, BOOT_TIMEOUT_MS);

afterAll(async () => {
  await database?.close();
  rmSync(folder, { recursive: true, force: true });
}, BOOT_TIMEOUT_MS);

interface Overrides {
  index?: Pick<VectorIndex, "search">;
  model?: EmbeddingModel | undefined;
  now?: () => number;
  timeoutMs?: number;
}

/** A search of its own, so that breakers begin closed; with what it was told of failures. */
function newSearch({ now = () => performance.now(), ...overrides }: Overrides = {}) {
  const failures: string[] = [];
  const model = "model" in overrides ? overrides.model : new BuiltinEmbeddingModel();
  const search = new KnowledgeSearch({
    index: (overrides.index ?? index) as VectorIndex,
    collections,
    findModel: () => model,
    now,
    random: () => 0.5,
    // Longer than in use: the machine that runs tests may be busy.
    timeoutMs: overrides.timeoutMs ?? 10_000,
    onFailure: (what) => failures.push(what),
  });
  const ask = (collection: string, query: string, fields: object = {}) =>
    search.retrieve({ tenantId: "acme", collection, query, passagesMax: 5, ...fields }, signal);
  return { search, ask, failures };
}

describe("search in the project's documents", () => {
  const ask = (...question: [string, string]) => newSearch().ask(...question);

  it.each([
    ["How do I configure Ollama?", /OLLAMA_HOST/],
    ["which port does the backend use", /backend/i],
    ["What does 429 mean?", /429/],
    ["rotate an API key", /rotat/i],
    ["What happens when Redis is down?", /Redis/],
    ["Who reads knowledge_chunks?", /knowledge_chunks/],
    ["how do I delete old rows", /retention/i],
    ["what is log-full", /log-full/],
  ])("finds for %j, among the first three, a passage that tells", async (question, expected) => {
    const { passages, state } = await ask("parley-docs", question);
    expect(state).toBe("complete");
    expect(passages.slice(0, 3).some(({ text }) => expected.test(text))).toBe(true);
  });

  it.each([
    ["How do I revoke a key?", /^> .*A revoked key is refused everywhere/m],
    [
      "What does error 429 mean?",
      /^> \| Code \| HTTP \|.*\n> \|---.*(?:\n> .*)*\n> \| `resource_exhausted` \| 429 \|/m,
    ],
  ])("lets the builtin model quote, for %j, the lines that tell", async (question, expected) => {
    const { passages } = await ask("parley-docs", question);
    const answer = new BuiltinLanguageModel().stream(modelRequest(question, { passages }), signal);
    const text = textOf(await collect(answer));
    expect(text).toMatch(expected);
  });

  it.each([
    "what is the airspeed of a swallow",
    "What is the capital of France?",
    "Who won the world cup in 1998?",
    "how do I cook rice",
    "translate good morning to german",
    "give me a recipe for chocolate cake",
    "how many people live in the city of the gateway arch",
    "hotels at the red sea in december",
    "explain photosynthesis",
    "what is it and who are you?",
    "",
    "???",
    "🦢",
  ])("finds nothing for %j", async (question) => {
    expect(await ask("parley-docs", question)).toEqual({ passages: [], state: "complete" });
  });

  it.each(["???", "---", "…", "   "])(
    "asks no index for %j, whose embedding would be near to signs",
    async (question) => {
      const asked: string[] = [];
      const signs: Pick<VectorIndex, "search"> = {
        search: async ({ query }) => {
          asked.push(query);
          return [];
        },
      };
      expect(await newSearch({ index: signs }).ask("hr", question)).toEqual({
        passages: [],
        state: "complete",
      });
      expect(asked).toEqual([]);
    },
  );

  it.each([
    ["What is the frabjous limit?", "Forty two calloohs"],
    ["Who owns callay?", "Team Tulgey"],
    ["calloohs", "frabjous limit"],
    ["H1500", "# H1500\n"],
    ["H2999", "# H2999"],
  ])("finds for %j the headings that no text follows", async (question, expected) => {
    const { passages } = await ask("outlines", question);
    expect(passages[0]?.text).toContain(expected);
  });

  it("gives passages as they stand in the document, with their place, best first", async () => {
    const { documents } = await readProjectDocuments(PROJECT_DIRECTORY);
    const { passages } = await ask("parley-docs", "How do I configure Ollama?");
    for (const { documentId, start, end, text } of passages) {
      expect(documents.find(({ id }) => id === documentId)?.text.slice(start, end)).toBe(text);
    }
    const scores = passages.map(({ score }) => score);
    expect(scores).toEqual(scores.toSorted((a, b) => b - a));
    expect(Math.min(...scores)).toBeGreaterThan(0);
    expect(Math.max(...scores)).toBeLessThanOrEqual(1);
  });
});

describe("search in a collection", () => {
  it("leaves out copies and near-copies of what it has found already", async () => {
    const { ask } = newSearch();
    const { passages } = await ask("hr", "days of holiday a year");
    expect(passages.filter(({ documentId }) => documentId.startsWith("holidays"))).toHaveLength(1);
  });

  it("finds only what the filter takes", async () => {
    const filter = [{ field: "year", equals: 2025 }];
    const { passages } = await newSearch().ask("hr", "days of holiday a year", { filter });
    expect(passages.map(({ documentId }) => documentId)).toEqual(["holidays-copy"]);
  });

  it("finds nothing of another tenant's, and prefers the tenant's own to a shared one of its name", async () => {
    const { ask } = newSearch();
    const stranger = { tenantId: "globex" };
    expect(await ask("hr", "days of holiday a year", stranger)).toEqual({ passages: [], state: "complete" });
    expect(await ask("__proto__", "days of holiday a year")).toEqual({ passages: [], state: "complete" });
    await stock("globex", "parley-docs", [{ id: "own", text: "# Own\n\nOLLAMA_HOST is ours to configure." }]);
    const { passages } = await ask("parley-docs", "configure OLLAMA_HOST", stranger);
    expect(passages.map(({ documentId }) => documentId)).toEqual(["own"]);
  });

  it("gives no more than asked for", async () => {
    const { passages } = await newSearch().ask("parley-docs", "backend", { passagesMax: 2 });
    expect(passages).toHaveLength(2);
  });

  it("gives as many as asked for, also when one way alone finds them", async () => {
    const animals = Array.from({ length: 45 }, (_, at) => `ox${at} elk${at} yak${at} emu${at} asp${at}`);
    await stock(
      "acme",
      "zoo",
      animals.map((names, at) => ({ id: `cage-${at}`, text: `# Cage ${at}\n\nA zebra, and ${names}.` })),
    );
    const { passages } = await newSearch({ model: undefined }).ask("zoo", "zebra", { passagesMax: 45 });
    expect(passages).toHaveLength(45);
  });
});

describe("when something does not answer, search", () => {
  const gone = new ParleyError("unavailable", "gone", { retryable: true });
  const question = "days of holiday a year";

  it("goes on by words alone without the embedding model, and says so", async () => {
    let calls = 0;
    const model: EmbeddingModel = {
      id: "ollama/gone",
      embed: async () => {
        calls++;
        throw gone;
      },
    };
    const { ask, failures } = newSearch({ model });
    for (let round = 0; round < 5; round++) {
      const { passages, state } = await ask("hr", question);
      expect(state).toBe("words-only");
      expect(passages[0]?.documentId).toMatch(/^holidays/);
    }
    expect(failures).toContain("embedding model");
    // After three failures the breaker leaves it alone.
    expect(calls).toBe(3);
  });

  it("goes on by words alone when the deployment has not the collection's model any more", async () => {
    expect(await newSearch({ model: undefined }).ask("hr", question)).toMatchObject({ state: "words-only" });
  });

  it("gives no passages without the index, says so, asks it no more for a while, then finds it back", async () => {
    let nowMs = 0;
    let calls = 0;
    let broken = true;
    const flaky: Pick<VectorIndex, "search"> = {
      search: async (...query) => {
        calls++;
        if (broken) throw gone;
        return index.search(...query);
      },
    };
    const { ask, failures } = newSearch({ index: flaky, now: () => nowMs });
    for (let round = 0; round < 6; round++) {
      expect(await ask("hr", question)).toEqual({ passages: [], state: "unavailable" });
    }
    expect(calls).toBe(3);
    expect(failures).toEqual(["index", "index", "index"]);
    broken = false;
    nowMs += 30_000;
    expect(await ask("hr", question)).toMatchObject({ state: "complete" });
  });

  it("rejects with the caller's reason when the caller leaves, and does not hold it against the index", async () => {
    const { search, failures } = newSearch();
    const query = { tenantId: "acme", collection: "hr", query: question, passagesMax: 5 };
    await expect(search.retrieve(query, AbortSignal.abort(new Error("left")))).rejects.toThrow("left");
    const hanging = newSearch({ index: { search: () => new Promise(() => undefined) } });
    const controller = new AbortController();
    setImmediate(() => controller.abort(new Error("left")));
    await expect(hanging.search.retrieve(query, controller.signal)).rejects.toThrow("left");
    expect([...failures, ...hanging.failures]).toEqual([]);
  });

  it("does not wait for an index that hangs", async () => {
    const { ask } = newSearch({ index: { search: () => new Promise(() => undefined) }, timeoutMs: 50 });
    expect(await ask("hr", question)).toEqual({ passages: [], state: "unavailable" });
  });
});
