/** Which chunks are scored: those whose terms few chunks have together. */
import { describe, expect, it } from "vitest";
import { likelyClauses } from "../../../backend/knowledge/likely-clauses.ts";

const terms = (shares: Record<string, number>) =>
  Object.entries(shares).map(([term, share]) => ({ term, share }));
const clausesOf = (shares: Record<string, number>, wanted = 400) =>
  likelyClauses(terms(shares), { chunks: 100_000, wanted }).map((clause) => clause.toSorted().join("&"));

describe("clauses of terms", () => {
  it("are single terms where all chunks that have one can be scored", () => {
    expect(clausesOf({ common: 0.5, rare: 0.001 }, 100_000)).toEqual(["common", "rare"]);
    expect(clausesOf({ a: 0.001, b: 0.002 }).toSorted()).toEqual(["a", "b"]);
  });

  it("join a common term to others, so that few chunks meet them", () => {
    expect(clausesOf({ rare: 0.001, common: 0.1, everywhere: 0.5 })).toEqual(["rare"]);
    expect(clausesOf({ a: 0.05, b: 0.05, c: 0.05 }, 800).toSorted()).toEqual(["a&b", "a&c", "b&c"]);
    expect(clausesOf({ a: 0.05, b: 0.05, c: 0.05 }, 100)).toEqual(["a&b&c"]);
  });

  it("have each one of the rarest terms, as many as 10,000 chunks have, and one at least", () => {
    const shares = { a: 0.04, b: 0.055, c: 0.14, d: 0.14 };
    const clauses = clausesOf(shares, 1_100);
    expect(clauses).toEqual(["b&c&d", "a&b", "a&c"]);
    expect(clausesOf({ ...shares, b: 0.065 }, 1_500).every((clause) => clause.includes("a"))).toBe(true);
    expect(clausesOf({ a: 0.3, b: 0.4 }, 15_000)).toEqual(["a&b"]);
  });

  it("are one at least, however many chunks meet it", () => {
    expect(clausesOf({ everywhere: 1 })).toEqual(["everywhere"]);
    expect(clausesOf({ a: 1, b: 1 })).toHaveLength(1);
  });

  it("never contain each other, and are at most 92 and one for each term that is not combined", () => {
    const many = Object.fromEntries(Array.from({ length: 64 }, (_, at) => [`t${at}`, 0.01 + at / 1_000]));
    for (const wanted of [1, 100, 1_000, 10_000, 99_999]) {
      const clauses = likelyClauses(terms(many), { chunks: 100_000, wanted });
      expect(clauses.length).toBeLessThanOrEqual(92 + 56);
      for (const clause of clauses) {
        const within = clauses.filter((other) => clause.every((term) => other.includes(term)));
        expect(within).toEqual([clause]);
      }
    }
  });
});
