/** Brings together what is known of one conversation from several places. */
import type { SpokenExchange } from "./conversation-memory.ts";

/**
 * The exchanges that are kept and those of the others that are missing among them, in the order of their questions.
 * What is older than all that is kept stays out: it was cut off, or is in the summary. Nothing kept: all of the others.
 *
 * @returns `kept` itself when nothing is missing
 */
export function mergeExchanges<Exchange extends SpokenExchange>(
  kept: readonly Exchange[],
  others: readonly SpokenExchange[],
): readonly (Exchange | SpokenExchange)[] {
  const known = new Set(kept.map(({ id }) => id));
  const startMs = kept[0]?.atMs ?? Number.NEGATIVE_INFINITY;
  const missing = others.filter(({ id, atMs }) => {
    const isMissing = atMs >= startMs && !known.has(id);
    if (isMissing) known.add(id);
    return isMissing;
  });
  if (missing.length === 0) return kept;
  return [...kept, ...missing].toSorted((one, other) => one.atMs - other.atMs);
}
