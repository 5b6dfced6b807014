/** The figures of a benchmark: each class and all questions together, each way of searching. */
import { mean, ndcg, recall, reciprocalRank } from "./metrics.ts";
import { type Outcome, WAYS, type Way } from "./retrieval.ts";

/** Ranks that count. */
const K = 10;
/** The class of all questions. */
export const OVERALL = "overall";

/** Of one class, by one way. */
export interface Figures {
  readonly ndcg: number;
  readonly recall: number;
  readonly mrr: number;
  /** Share of the questions that were rightly answered with something, or rightly with nothing. */
  readonly noAnswerAccuracy: number;
}

/** By class, then by way. The measures of rank are null for questions that nothing answers. */
export type FiguresByClass = Record<string, Record<Way, { [Name in keyof Figures]: number | null }>>;

/** All figures, rounded to four places. */
export function reckonFigures(outcomes: readonly Outcome[]): FiguresByClass {
  const classes = [...new Set(outcomes.map(({ question }) => question.class)), OVERALL];
  return Object.fromEntries(
    classes.map((name) => {
      const members = outcomes.filter(({ question }) => name === OVERALL || question.class === name);
      return [name, Object.fromEntries(WAYS.map((way) => [way, figuresOf(members, way)]))];
    }),
  ) as FiguresByClass;
}

/** nDCG of each question that has an answer, in their order: what ways are compared by. */
export function ndcgOfEach(outcomes: readonly Outcome[], way: Way): number[] {
  return answerable(outcomes).map(({ question, found }) => ndcg(found[way].ranking, question.grades, K));
}

function figuresOf(outcomes: readonly Outcome[], way: Way) {
  const ranked = answerable(outcomes);
  const of = (measure: typeof ndcg) =>
    rounded(mean(ranked.map(({ question, found }) => measure(found[way].ranking, question.grades, K))));
  const right = outcomes.map(({ question, found }) =>
    Number(found[way].answers === question.grades.size > 0),
  );
  return {
    ndcg: of(ndcg),
    recall: of(recall),
    mrr: of(reciprocalRank),
    noAnswerAccuracy: rounded(mean(right)),
  };
}

function answerable(outcomes: readonly Outcome[]): readonly Outcome[] {
  return outcomes.filter(({ question }) => question.grades.size > 0);
}

function rounded(value: number): number | null {
  return Number.isNaN(value) ? null : Math.round(value * 10_000) / 10_000;
}
