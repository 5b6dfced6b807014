/** Counts the turns of a conversation that have not been counted, as far as they can matter. */
import type { TokenCounter } from "../llm/token-counter.ts";
import type { EarlierTurn } from "./agent-runner.ts";
import type { CountedTurn } from "./fit-prompt.ts";

/**
 * The turns with their tokens, oldest first. Counted from the newest on; once they are more than `tokensMax`, all older
 * ones are left out without being counted.
 */
export async function countTurns(
  history: readonly EarlierTurn[],
  counter: TokenCounter,
  tokensMax: number,
): Promise<CountedTurn[]> {
  const counted: CountedTurn[] = [];
  let sum = 0;
  for (const { role, text, tokens } of [...history].reverse()) {
    const turn = { role, text, tokens: tokens ?? (await counter.count(text)) };
    sum += turn.tokens;
    if (sum > tokensMax) break;
    counted.push(turn);
  }
  return counted.reverse();
}
