/** Measures of a ranking, as trec_eval and BEIR reckon them: of ids of documents, best first, against their grades. */

/** Ids of documents with grades of 1 and more. */
export type Grades = ReadonlyMap<string, number>;

/** Normalised discounted cumulative gain; the gain is the grade itself. */
export function ndcg(ranking: readonly string[], grades: Grades, k: number): number {
  const ideal = gain([...grades.values()].sort((a, b) => b - a).slice(0, k));
  if (ideal === 0) return 0;
  return gain(ranking.slice(0, k).map((id) => grades.get(id) ?? 0)) / ideal;
}

/** Of what is relevant, the share among the first k. */
export function recall(ranking: readonly string[], grades: Grades, k: number): number {
  if (grades.size === 0) return 0;
  return ranking.slice(0, k).filter((id) => grades.has(id)).length / grades.size;
}

/** One divided by the rank of the first relevant one; 0 when it is not among the first k. */
export function reciprocalRank(ranking: readonly string[], grades: Grades, k: number): number {
  const at = ranking.slice(0, k).findIndex((id) => grades.has(id));
  return at < 0 ? 0 : 1 / (at + 1);
}

function gain(grades: readonly number[]): number {
  return grades.reduce((sum, grade, at) => sum + grade / Math.log2(at + 2), 0);
}

/** The mean; NaN of nothing. */
export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** How much the first of two systems is better than the second, and how sure that is. */
export interface Difference {
  readonly mean: number;
  /** Where 95 % of the resamples lie. */
  readonly low: number;
  readonly high: number;
}

/**
 * Paired bootstrap: the questions are drawn again and again with replacement (Sakai, "Evaluating Evaluation Metrics
 * Based on the Bootstrap", SIGIR 2006).
 *
 * @param a, b one value for each question, in the same order
 */
export function pairedBootstrap(
  a: readonly number[],
  b: readonly number[],
  { resamples, random }: { resamples: number; random: () => number },
): Difference {
  const differences = a.map((value, at) => value - (b[at] ?? Number.NaN));
  const means = Array.from({ length: resamples }, () =>
    mean(differences.map(() => differences[Math.floor(random() * differences.length)] ?? Number.NaN)),
  ).sort((x, y) => x - y);
  const at = (share: number) => means[Math.floor(share * (means.length - 1))] ?? Number.NaN;
  return { mean: mean(differences), low: at(0.025), high: at(0.975) };
}
