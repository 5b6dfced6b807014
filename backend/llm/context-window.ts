/** How much a model takes in and gives out together, and how much of it is left for a prompt. */
import type { ModelLink } from "./answer-event.ts";
import { BUILTIN_MODEL_ID } from "./builtin-language-model.ts";

/** Of a model that nothing is known of: most take at least this. Also what Ollama is told to make room for. */
export const CONTEXT_TOKENS_DEFAULT = 8_192;

/** Of OpenAI's models, by the beginning of their names; platform.openai.com/docs/models, 2026-11. */
const KNOWN_WINDOWS: readonly (readonly [name: RegExp, contextTokens: number])[] = [
  [/^openai\/gpt-5/, 400_000],
  [/^openai\/gpt-4\.1/, 1_000_000],
  [/^openai\/(?:chatgpt-4o|gpt-4o|gpt-4-turbo)/, 128_000],
  [/^openai\/o[134]/, 200_000],
  [/^openai\/gpt-3\.5-turbo/, 16_385],
];

/** For an answer whose length nobody limits. */
const ANSWER_TOKENS_EXPECTED = 1_024;
/** An answer may not take more of the window than this, or no prompt would be left. */
const ANSWER_FRACTION_MAX = 0.5;
/** Other vocabularies than ours make more tokens of the same text. */
const FOREIGN_VOCABULARY_MARGIN = 0.1;

/** The part of a link that says how large its window is. */
type Window = Pick<ModelLink, "contextTokens" | "parameters"> & { readonly model: { readonly id: string } };

/** The window of a model, tokens; without limit for one that reads no prompt. */
export function contextTokensOf(link: Window): number {
  return knownContextTokensOf(link) ?? CONTEXT_TOKENS_DEFAULT;
}

/** The same; undefined when neither the agent says it nor the model's name. */
export function knownContextTokensOf({
  model,
  contextTokens,
}: Pick<Window, "model" | "contextTokens">): number | undefined {
  if (model.id === BUILTIN_MODEL_ID) return Number.POSITIVE_INFINITY;
  return contextTokens ?? KNOWN_WINDOWS.find(([name]) => name.test(model.id))?.[1];
}

/** What a prompt may take of the window: what is left beside the answer and what counting may have missed. */
export function promptTokensMax(link: Window): number {
  const window = contextTokensOf(link);
  if (window === Number.POSITIVE_INFINITY) return window;
  const answer = Math.min(
    link.parameters.outputTokensMax ?? ANSWER_TOKENS_EXPECTED,
    Math.floor(window * ANSWER_FRACTION_MAX),
  );
  const margin = link.model.id.startsWith("openai/") ? 0 : Math.ceil(window * FOREIGN_VOCABULARY_MARGIN);
  return window - answer - margin;
}
