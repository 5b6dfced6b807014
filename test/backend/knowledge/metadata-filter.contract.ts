/** What filters on metadata guarantee on every index, hostile values among them. */
import { randomUUID } from "node:crypto";
import { describe, expect, it } from "vitest";
import type { Metadata } from "../../../backend/knowledge/chunk.ts";
import type { FilterCondition } from "../../../backend/knowledge/metadata-filter.ts";
import type { IndexScope, VectorIndex } from "../../../backend/knowledge/vector-index.ts";
import {
  BUILTIN_EMBEDDING_DIMENSION as DIMENSION,
  embedLexically,
} from "../../../backend/llm/builtin-embedding-model.ts";
import { embeddedChunk } from "../../support/knowledge.ts";

const signal = new AbortController().signal;

const DOCUMENTS: Record<string, Metadata> = {
  manual: { kind: "manual", year: 2024, draft: false, day: "2024-05-01" },
  draft: { kind: "manual", year: 2025, draft: true, day: "2025-01-31" },
  memo: { kind: "memo", year: 2025.5, draft: false, day: "2025-11-02" },
  text: { kind: "2025", year: "2025", draft: "true" },
  bare: {},
  quoted: { kind: `it's "quoted" \\ and 100% {x} [y]`, year: -1 },
};

const CASES: [string, FilterCondition[], string[]][] = [
  ["text", [{ field: "kind", equals: "manual" }], ["draft", "manual"]],
  ["a number, which is not its text", [{ field: "year", equals: 2025 }], ["draft"]],
  ["a text, which is not its number", [{ field: "year", equals: "2025" }], ["text"]],
  ["a flag, which is not its text", [{ field: "draft", equals: true }], ["draft"]],
  ["one of several values, of any type", [{ field: "year", in: [2024, "2025", true] }], ["manual", "text"]],
  ["a range of numbers", [{ field: "year", range: { gte: 2025, lt: 2026 } }], ["draft", "memo"]],
  ["an open range", [{ field: "year", range: { lt: 2025 } }], ["manual", "quoted"]],
  ["a range of texts", [{ field: "day", range: { gt: "2024-05-01", lte: "2025-11-02" } }], ["draft", "memo"]],
  [
    "all of several conditions",
    [
      { field: "kind", equals: "manual" },
      { field: "draft", equals: false },
    ],
    ["manual"],
  ],
  ["a field that no document has", [{ field: "absent", equals: "manual" }], []],
  [
    "quotes, backslashes and braces",
    [{ field: "kind", equals: `it's "quoted" \\ and 100% {x} [y]` }],
    ["quoted"],
  ],
];

const HOSTILE_VALUES = [
  `' OR '1'='1`,
  `manual' OR 1 = 1 --`,
  `"manual" || true`,
  `manual" || tenant != "`,
  `{value0}`,
  `$1`,
  `\\' OR true`,
  `'; DROP TABLE knowledge_chunks; --`,
  `%`,
  `*`,
  "",
];

export function metadataFilterContract(getIndex: () => VectorIndex): void {
  let stocked: Promise<IndexScope> | undefined;
  const stock = async () => {
    const scope = { tenantId: `tenant-${randomUUID()}`, collection: "filtered", generation: 1 };
    await getIndex().prepare(scope, DIMENSION, signal);
    for (const [documentId, metadata] of Object.entries(DOCUMENTS)) {
      const chunk = embeddedChunk(documentId, `word of ${documentId}`, { metadata });
      await getIndex().replaceDocument(scope, documentId, [chunk], signal);
    }
    return scope;
  };
  const found = async (filter: FilterCondition[], way: "dense" | "lexical") => {
    stocked ??= stock();
    const embedding = way === "dense" ? embedLexically("word") : undefined;
    const query = way === "dense" ? "" : "word";
    const candidates = await getIndex().search(
      { scope: await stocked, query, embedding, limit: 10, filter },
      signal,
    );
    return candidates.map(({ chunk }) => chunk.documentId).sort();
  };

  describe.each(["dense", "lexical"] as const)("a filter on a %s search", (way) => {
    it.each(CASES)("takes %s", async (_, filter, expected) => {
      expect(await found(filter, way)).toEqual(expected);
    });

    it.each(HOSTILE_VALUES)("takes the value %j as a value and nothing else", async (value) => {
      expect(await found([{ field: "kind", equals: value }], way)).toEqual([]);
      expect(await found([{ field: "kind", in: [value, "memo"] }], way)).toEqual(["memo"]);
      expect(await found([{ field: "draft", range: { gte: value, lte: value } }], way)).toEqual([]);
    });
  });

  describe("a question", () => {
    it.each([
      ...HOSTILE_VALUES,
      "word & | ! <-> :* ( ) ' \" \\",
      "word\0 \ud800 word",
      "word ".repeat(5_000),
      "x".repeat(100_000),
      "🦙🦙",
    ])("is never more than words to the engine (%#)", async (query) => {
      stocked ??= stock();
      const scope = await stocked;
      const embedding = embedLexically(query);
      const candidates = await getIndex().search({ scope, query, embedding, limit: 10 }, signal);
      expect(candidates.length).toBeLessThanOrEqual(Object.keys(DOCUMENTS).length);
    });
  });
}
