/** The tables of `npm run bench -- knowledge`. */
import { renderTable } from "../report.ts";
import { pairedBootstrap } from "./metrics.ts";
import { seededRandom } from "./random.ts";
import { type Outcome, WAYS } from "./retrieval.ts";
import { ndcgOfEach, reckonFigures } from "./retrieval-figures.ts";
import type { Latency, ScaleResult } from "./scale.ts";

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

/** How fast a large index is, and how large. */
export function renderScale(name: string, result: ScaleResult): string {
  const { chunks, chunksPerSecond, unsettled, dense, words, hybrid, recall, memory, sizes } = result;
  const ways: [string, Latency][] = [
    ...(unsettled ? [["both, before the graph is built", unsettled.hybrid] as [string, Latency]] : []),
    ["vectors", dense],
    ["words", words],
    ["both", hybrid],
  ];
  const latencies = ways.map(([way, { p50Ms, p95Ms }]) => [way, p50Ms.toFixed(1), p95Ms.toFixed(1)]);
  const megabytes = (mb: number | undefined) => mb?.toFixed(0) ?? "-";
  return [
    `${name}: ${chunks} chunks, stored at ${chunksPerSecond.toFixed(0)}/s, recall@10 ${recall.toFixed(4)}`,
    ...(unsettled
      ? [`the graph was built afterwards in ${(unsettled.settlingMs / 1_000).toFixed(0)} s`]
      : []),
    "",
    renderTable([["search by", "p50 ms", "p95 ms"], ...latencies]),
    "",
    `memory: ${megabytes(memory?.ownMb)} MB of this process, ${megabytes(memory?.serversMb)} MB of the servers`,
    ...(Object.keys(sizes).length > 0 ? [renderSizes(sizes)] : []),
  ].join("\n");
}

function renderSizes(sizes: Record<string, number>): string {
  const total = Object.values(sizes).reduce((sum, mb) => sum + mb, 0);
  const rows = Object.entries({ ...sizes, total }).map(([what, mb]) => [what, mb.toFixed(0)]);
  return `\n${renderTable([["on the disk", "MB"], ...rows])}`;
}
