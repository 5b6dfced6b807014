/**
 * One ranking out of two: reciprocal rank fusion (Cormack, Clarke & Büttcher, SIGIR 2009), which needs no scores that
 * can be compared.
 */
import type { Candidate } from "./vector-index.ts";

/** The paper's constant: how much the first ranks stand out. */
const K = 60;

/** A candidate with its fused score, 0 to 1: 1 is the first of both ways. */
export interface FusedCandidate {
  readonly candidate: Candidate;
  readonly score: number;
}

/**
 * Best first; equal scores in the order of documents, so that the same search always has the same order.
 *
 * @param denseWeight of the dense way against the lexical one, which weighs 1
 */
export function fuseCandidates(candidates: readonly Candidate[], denseWeight: number): FusedCandidate[] {
  const share = (rank: number | undefined) => (rank === undefined ? 0 : (K + 1) / (K + rank));
  return candidates
    .map((candidate) => ({
      candidate,
      score:
        (denseWeight * share(candidate.dense?.rank) + share(candidate.lexical?.rank)) / (denseWeight + 1),
    }))
    .sort((a, b) => b.score - a.score || compareChunks(a.candidate, b.candidate));
}

function compareChunks({ chunk: a }: Candidate, { chunk: b }: Candidate): number {
  if (a.documentId !== b.documentId) return a.documentId < b.documentId ? -1 : 1;
  return a.ordinal - b.ordinal;
}
