/** How well search finds on our own benchmark: what a change of search does to the figures is seen here. */
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  BUILTIN_EMBEDDING_DIMENSION,
  BuiltinEmbeddingModel,
} from "../../../backend/llm/builtin-embedding-model.ts";
import { readBeirSet } from "../../bench/knowledge/beir-set.ts";
import { OWN_DATA } from "../../bench/knowledge/knowledge-bench.ts";
import { mean, ndcg, pairedBootstrap, recall, reciprocalRank } from "../../bench/knowledge/metrics.ts";
import { INDEX_KINDS, type OpenIndex } from "../../bench/knowledge/open-index.ts";
import { type Outcome, runRetrieval, WAYS } from "../../bench/knowledge/retrieval.ts";
import { type FiguresByClass, OVERALL, reckonFigures } from "../../bench/knowledge/retrieval-figures.ts";

const RECORDED = fileURLToPath(new URL("../../bench/knowledge/recorded-figures.json", import.meta.url));
/** Set to 1, the run writes what it measured instead of comparing with it. */
const UPDATE = "UPDATE_RETRIEVAL_FIGURES";
const TOLERANCE = 0.005;
const TIMEOUT_MS = 240_000;

describe("the measures", () => {
  const grades = new Map([
    ["a", 3],
    ["b", 2],
    ["c", 1],
  ]);

  it("are what one reckons by hand", () => {
    // (2 + 3 / log2(4)) / (3 + 2 / log2(3) + 1 / log2(4)) = 3.5 / 4.7618595
    expect(ndcg(["b", "x", "a"], grades, 10)).toBeCloseTo(0.735007, 5);
    expect(ndcg(["a", "b", "c"], grades, 10)).toBe(1);
    expect(recall(["x", "a", "b"], grades, 2)).toBeCloseTo(1 / 3, 10);
    expect(reciprocalRank(["x", "y", "c"], grades, 10)).toBeCloseTo(1 / 3, 10);
  });

  it("count nothing behind the first k, and nothing of nothing", () => {
    expect(ndcg(["x", "a"], grades, 1)).toBe(0);
    expect(reciprocalRank(["x", "a"], grades, 1)).toBe(0);
    expect(ndcg(["a"], new Map(), 10)).toBe(0);
    expect(recall(["a"], new Map(), 10)).toBe(0);
  });

  it("compare two systems question by question", () => {
    const same = pairedBootstrap([0.5, 1], [0.25, 0.75], { resamples: 50, random: Math.random });
    expect(same).toEqual({ mean: 0.25, low: 0.25, high: 0.25 });
    expect(mean([1, 2, 6])).toBe(3);
  });
});

describe("search on the benchmark, in PGlite with the builtin embedding", () => {
  let opened: OpenIndex;
  let outcomes: Outcome[];

  beforeAll(async () => {
    opened = await INDEX_KINDS.pglite();
    const parts = { model: new BuiltinEmbeddingModel(), dimension: BUILTIN_EMBEDDING_DIMENSION };
    outcomes = await runRetrieval(readBeirSet(OWN_DATA), { index: opened.index, ...parts });
  }, TIMEOUT_MS);

  afterAll(async () => opened?.close(), TIMEOUT_MS);

  it("finds by both ways together at least as well as by either alone", () => {
    const overall = reckonFigures(outcomes)[OVERALL];
    const [words = 0, vectors = 0, both = 0] = WAYS.map((way) => overall?.[way].ndcg ?? Number.NaN);
    expect(both).toBeGreaterThanOrEqual(Math.max(words, vectors));
  });

  it("has the recorded figures", () => {
    const measured = reckonFigures(outcomes);
    if (process.env[UPDATE] === "1") writeFileSync(RECORDED, `${JSON.stringify(measured, null, 2)}\n`);
    const recorded = JSON.parse(readFileSync(RECORDED, "utf8")) as FiguresByClass;
    const changes = differences(recorded, measured);
    const how = `If the change is meant, run ${UPDATE}=1 npx vitest run test/backend/knowledge/retrieval-quality.test.ts and commit ${RECORDED}`;
    expect(changes, how).toEqual([]);
  });
});

/** What differs by more than the tolerance, either way, in words. */
function differences(recorded: FiguresByClass, measured: FiguresByClass): string[] {
  const names = [...new Set([...Object.keys(recorded), ...Object.keys(measured)])];
  return names.flatMap((name) =>
    WAYS.flatMap((way) =>
      (["ndcg", "recall", "mrr", "noAnswerAccuracy"] as const).flatMap((figure) => {
        const [before, after] = [recorded, measured].map((figures) => figures[name]?.[way][figure] ?? -1);
        const differs = Math.abs((before ?? -1) - (after ?? -1)) > TOLERANCE;
        return differs ? [`${name}, ${way}, ${figure}: recorded ${before}, measured ${after}`] : [];
      }),
    ),
  );
}
