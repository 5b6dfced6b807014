/** The tables of `npm run bench -- knowledge`. */
import { renderTable } from "../report.ts";
import { pairedBootstrap } from "./metrics.ts";
import { seededRandom } from "./random.ts";
import { type Outcome, WAYS } from "./retrieval.ts";
import { ndcgOfEach, reckonFigures } from "./retrieval-figures.ts";
import type { ScaleResult } from "./scale.ts";

const RESAMPLES = 10_000;
const SEED = 6;

/** How well was found, by class, and whether both ways together are better than each alone. */
export function renderRetrieval(outcomes: readonly Outcome[]): string {
  const rows = Object.entries(reckonFigures(outcomes)).flatMap(([name, ways]) =>
    WAYS.map((way) => {
      const { ndcg, recall, mrr, noAnswerAccuracy } = ways[way];
      return [name, way, ...[ndcg, recall, mrr, noAnswerAccuracy].map((value) => value?.toFixed(3) ?? "-")];
    }),
  );
  const hybrid = ndcgOfEach(outcomes, "hybrid");
  const comparisons = (["BM25", "dense"] as const).map((way) => {
    const difference = pairedBootstrap(hybrid, ndcgOfEach(outcomes, way), {
      resamples: RESAMPLES,
      random: seededRandom(SEED),
    });
    const [gained, low, high] = [difference.mean, difference.low, difference.high].map((n) => n.toFixed(3));
    return `hybrid - ${way}: nDCG@10 ${gained}, 95 % of ${RESAMPLES} paired resamples in ${low} to ${high}`;
  });
  const headings = ["class", "way", "nDCG@10", "recall@10", "MRR@10", "no-answer accuracy"];
  return [renderTable([headings, ...rows]), "", ...comparisons].join("\n");
}

/** How fast a large index is. */
export function renderScale(name: string, result: ScaleResult): string {
  const { chunks, chunksPerSecond, dense, hybrid, recall, memory } = result;
  const headings = [
    ...["index", "chunks", "chunks/s in", "dense p50 ms", "p95 ms", "hybrid p50 ms", "p95 ms", "recall@10"],
    ...["own MB", "servers MB"],
  ];
  const times = [dense.p50Ms, dense.p95Ms, hybrid.p50Ms, hybrid.p95Ms].map((ms) => ms.toFixed(1));
  const megabytes = [memory?.ownMb, memory?.serversMb].map((mb) => mb?.toFixed(0) ?? "-");
  return renderTable([
    headings,
    [name, String(chunks), chunksPerSecond.toFixed(0), ...times, recall.toFixed(4), ...megabytes],
  ]);
}
