/**
 * Counts the tokens of texts with OpenAI's o200k vocabulary: exact for its newer models, near enough for others when
 * a margin is left. The vocabulary is loaded on the first use, and no text keeps the event loop for long.
 */
import { setImmediate as nextTurnOfTheLoop } from "node:timers/promises";
import { LruMap } from "../../core/directory/lru-map.ts";

/** Counts tokens. Never fails; the same text has the same count. */
export interface TokenCounter {
  count(text: string): Promise<number>;
}

/**
 * Counted piece by piece: a run of one letter costs the square of its length otherwise, and boundaries add a token
 * at most.
 */
const PIECE_CHARACTERS = 1_024;
/** Counted before others get their turn: some 10 ms of the worst texts. */
const CHARACTERS_AT_ONCE = 16 * PIECE_CHARACTERS;
/** Counts of the last longer texts: system prompts come again with every turn. */
const REMEMBERED_MAX = 64;
/** Longer texts are counted in samples: they fill most windows anyway. */
const EXACT_CHARACTERS_MAX = 64 * PIECE_CHARACTERS;
const SAMPLES = 32;
/** For what the samples miss. */
const SAMPLING_MARGIN = 1.1;

/** Text that looks like a special token is text. */
const AS_TEXT = { disallowedSpecial: new Set<string>() };

type Count = (text: string) => number;

/** Makes a counter; `load` is for tests. */
export function createTokenCounter(load: () => Promise<Count> = loadVocabulary): TokenCounter {
  const remembered = new LruMap<number>(REMEMBERED_MAX);
  let loading: Promise<Count> | undefined;
  let characters = 0;

  async function countPieces(text: string): Promise<number> {
    loading ??= load();
    const count = await loading;
    let tokens = 0;
    for (const piece of piecesOf(text)) {
      characters += piece.length;
      if (characters > CHARACTERS_AT_ONCE) {
        characters = 0;
        await nextTurnOfTheLoop();
      }
      tokens += count(piece);
    }
    if (text.length <= EXACT_CHARACTERS_MAX) return tokens;
    return Math.ceil((tokens * text.length * SAMPLING_MARGIN) / (SAMPLES * PIECE_CHARACTERS));
  }

  return {
    async count(text) {
      if (text === "") return 0;
      const isWorthIt = text.length > PIECE_CHARACTERS && text.length <= EXACT_CHARACTERS_MAX;
      const known = isWorthIt ? remembered.get(text) : undefined;
      const tokens = known ?? (await countPieces(text));
      if (isWorthIt) remembered.set(text, tokens);
      return tokens;
    },
  };
}

/** All of a text, or samples of a long one, spread evenly. */
function piecesOf(text: string): string[] {
  const isSampled = text.length > EXACT_CHARACTERS_MAX;
  const count = isSampled ? SAMPLES : Math.ceil(text.length / PIECE_CHARACTERS);
  const step = isSampled ? Math.floor((text.length - PIECE_CHARACTERS) / (SAMPLES - 1)) : PIECE_CHARACTERS;
  return Array.from({ length: count }, (_, index) =>
    text.slice(index * step, index * step + PIECE_CHARACTERS),
  );
}

async function loadVocabulary(): Promise<Count> {
  const { countTokens } = await import("gpt-tokenizer/encoding/o200k_base");
  return (text) => countTokens(text, AS_TEXT);
}
