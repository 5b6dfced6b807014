/**
 * Which chunks are worth scoring: a question's terms put together to clauses, each of terms that few chunks have
 * together. What a chunk's terms weigh, their idf, says how rare it is to have them all; so the clauses that few chunks
 * meet are those whose chunks score highest (the threshold of WAND; Broder et al., CIKM 2003), before any was read.
 */

/** A term with how common it is. */
export interface WeighedTerm {
  readonly term: string;
  /** Of all chunks, the share that has the term, over 0 and up to 1. */
  readonly share: number;
}

/** Terms that are combined, the rarest; what the others add to a score changes little. 92 clauses at most. */
const COMBINED_TERMS_MAX = 8;
const CLAUSE_TERMS_MAX = 3;
/**
 * Every clause has one of the rarest terms, as many as this many chunks have: those are what an index looks through.
 * Chunks that have none of them are hardly ever among the best.
 */
const LOOKED_THROUGH_MAX = 10_000;

interface Clause {
  readonly members: readonly WeighedTerm[];
  /** How many chunks meet it. */
  readonly met: number;
}

/**
 * Clauses, each a list of terms, that some chunks meet: those with the highest idf, as many as are met by about
 * `wanted` of `chunks`, taking terms to be independent of each other; one at least. None contains another.
 */
export function likelyClauses(
  terms: readonly WeighedTerm[],
  { chunks, wanted }: { readonly chunks: number; readonly wanted: number },
): string[][] {
  if (chunks <= wanted) return terms.map(({ term }) => [term]);
  const rarest = terms.toSorted((a, b) => a.share - b.share);
  const required = rarestOf(rarest, LOOKED_THROUGH_MAX / chunks);
  const clauses: Clause[] = [
    ...subsetsOf(rarest.slice(0, COMBINED_TERMS_MAX)),
    ...rarest.slice(COMBINED_TERMS_MAX).map((term) => [term]),
  ]
    .filter((members) => members.some((term) => required.has(term)))
    .map((members) => ({ members, met: members.reduce((met, { share }) => met * share, chunks) }))
    .toSorted((a, b) => a.met - b.met);
  let chosen: Clause[] = [];
  for (const clause of clauses) {
    // Whoever meets a clause of more terms meets this one as well.
    const next = [...chosen.filter((other) => !isWithin(clause, other)), clause];
    if (chosen.length > 0 && next.reduce((sum, { met }) => sum + met, 0) > wanted) break;
    chosen = next;
  }
  return chosen.map(({ members }) => members.map(({ term }) => term));
}

/** The first one, and those after it that do not take the sum of their shares over a limit. */
function rarestOf(rarest: readonly WeighedTerm[], shareMax: number): Set<WeighedTerm> {
  let sum = 0;
  const within = rarest.findIndex(({ share }, at) => {
    sum += share;
    return at > 0 && sum > shareMax;
  });
  return new Set(within < 0 ? rarest : rarest.slice(0, within));
}

function isWithin(clause: Clause, other: Clause): boolean {
  return clause.members.every((term) => other.members.includes(term));
}

/** All subsets of one to {@link CLAUSE_TERMS_MAX}. */
function subsetsOf(terms: readonly WeighedTerm[]): WeighedTerm[][] {
  const subsets: WeighedTerm[][] = [];
  let largest = terms.map((term, at) => ({ members: [term], next: at + 1 }));
  for (let size = 1; size <= CLAUSE_TERMS_MAX; size++) {
    subsets.push(...largest.map(({ members }) => members));
    largest = largest.flatMap(({ members, next }) =>
      terms.slice(next).map((term, at) => ({ members: [...members, term], next: next + at + 1 })),
    );
  }
  return subsets;
}
