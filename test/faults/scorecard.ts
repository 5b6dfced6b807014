/** The scorecard of the sixteen scenarios: a row for each, a column for each surface, and whether the goal is met. */
import type { Verdict } from "../support/failover-scenarios.ts";
import type { Played } from "./play-scenarios.ts";
import { SURFACES, type Surface } from "./surfaces.ts";

/** Verdicts that meet the goal: a live completions stream cannot take back what it has sent, so it may only be safe. */
const GOOD: Record<Surface, readonly Verdict[]> = {
  sse: ["pass"],
  grpc: ["pass"],
  "held-back": ["pass"],
  completions: ["pass", "partial", "safe"],
};

/** What is below the goal, with the checks that failed. */
export function belowGoal(played: readonly Played[]): string[] {
  return played
    .filter(({ surface, verdict }) => !GOOD[surface].includes(verdict))
    .map(
      ({ id, surface, verdict, failed }) =>
        `${id} on ${surface}: ${verdict} (${failed.join("; ") || "no answer"})`,
    );
}

/** A line for each surface, e.g. `sse: 16 pass`. */
export function countsOf(played: readonly Played[]): string {
  return SURFACES.map((surface) => {
    const verdicts = played.filter((one) => one.surface === surface).map(({ verdict }) => verdict);
    const counts = [...new Set(verdicts)].map(
      (verdict) => `${verdicts.filter((one) => one === verdict).length} ${verdict}`,
    );
    return `${surface} ${counts.join(" ")}`;
  }).join(", ");
}

/** The rows, the heading first. */
export function scorecardRows(played: readonly Played[]): string[][] {
  const ids = [...new Set(played.map(({ id }) => id))].toSorted();
  return [
    ["scenario", ...SURFACES],
    ...ids.map((id) => {
      const cells = SURFACES.map((surface) =>
        cellOf(played.find((one) => one.id === id && one.surface === surface)),
      );
      return [`${id} ${played.find((one) => one.id === id)?.fault}`, ...cells];
    }),
  ];
}

/** E.g. `pass 0.4 s, 2 attempts`. */
function cellOf(one: Played | undefined): string {
  if (!one) return "";
  const { verdict, slowestMs, attempts } = one;
  return `${verdict} ${(slowestMs / 1000).toFixed(1)} s ×${attempts}`;
}
