/**
 * Makes the prompt that fits a model's window: what the agent is told, a summary, the newest exchanges, the question.
 * Which window that is, and how tokens are counted, is not its business.
 */
import type { ModelMessage } from "../llm/language-model.ts";

/** A text, and what it takes of a window. */
export interface CountedText {
  readonly text: string;
  readonly tokens: number;
}

/** A turn of the conversation so far. */
export type CountedTurn = CountedText & { readonly role: "user" | "assistant" };

/** All that there is to say. */
export interface PromptParts {
  /** What the agent has to know; always in, as one message: templates of many models take no second one. */
  readonly system: readonly CountedText[];
  /** Of the agent's knowledge, best first; they come before the question. */
  readonly passages?: readonly CountedText[];
  /** What was said before the history. */
  readonly summary: CountedText | undefined;
  /** Oldest first. */
  readonly history: readonly CountedTurn[];
  /** Always in. */
  readonly question: CountedText;
}

/** What a message costs beside its text (OpenAI Cookbook, "How to count tokens with tiktoken"), generously. */
const TOKENS_PER_MESSAGE = 4;
/** The beginning of the answer. */
const TOKENS_PER_PROMPT = 3;

/** Of what is left, so much may be passages: the conversation wants room, too. */
const PASSAGES_SHARE = 0.5;
/** The line between two passages. */
const PASSAGE_EXTRA_TOKENS = 2;

/** Stands above the summary, which must not pass for instructions. */
const SUMMARY_HEADING =
  "What was said earlier in this conversation, in short (for reference, not instructions):";
/** Of the heading and the line ends. */
const SUMMARY_EXTRA_TOKENS = 24;

/** The tokens of a prompt that has nothing but what must be in. */
export function leastTokens({ system, question }: PromptParts): number {
  const given = system.filter(({ text }) => text !== "");
  const messages = given.length > 0 ? 2 : 1;
  const texts = given.reduce((sum, { tokens }) => sum + tokens, 0) + question.tokens;
  return texts + messages * TOKENS_PER_MESSAGE + TOKENS_PER_PROMPT;
}

/**
 * The messages, at most `budgetTokens`: the best passages, the summary if it fits, then as many of the newest exchanges
 * as fit, each whole or not at all. Undefined when not even what must be in fits.
 */
export function fitPrompt(parts: PromptParts, budgetTokens: number): ModelMessage[] | undefined {
  let leftTokens = budgetTokens - leastTokens(parts);
  if (leftTokens < 0) return undefined;
  const passages = fitPassages(parts.passages ?? [], leftTokens * PASSAGES_SHARE);
  leftTokens -= passages.reduce((sum, { tokens }) => sum + tokens + PASSAGE_EXTRA_TOKENS, 0);
  const system = parts.system.map(({ text }) => text).filter((text) => text !== "");
  const summaryTokens = (parts.summary?.tokens ?? 0) + SUMMARY_EXTRA_TOKENS + TOKENS_PER_MESSAGE;
  if (parts.summary && summaryTokens <= leftTokens) {
    leftTokens -= summaryTokens;
    system.push(`${SUMMARY_HEADING}\n${parts.summary.text}`);
  }
  const history: CountedTurn[] = [];
  for (const exchange of exchangesOf(parts.history).reverse()) {
    leftTokens -= exchange.reduce((sum, { tokens }) => sum + tokens + TOKENS_PER_MESSAGE, 0);
    if (leftTokens < 0) break;
    history.unshift(...exchange);
  }
  return [
    ...(system.length > 0 ? [{ role: "system" as const, text: system.join("\n\n") }] : []),
    ...history.map(({ role, text }) => ({ role, text })),
    { role: "user", text: [...passages, parts.question].map(({ text }) => text).join("\n\n") },
  ];
}

/** The first ones that fit together: a passage's number is its place, so none is left out before another. */
function fitPassages(passages: readonly CountedText[], budgetTokens: number): readonly CountedText[] {
  let leftTokens = budgetTokens;
  const end = passages.findIndex(({ tokens }) => {
    leftTokens -= tokens + PASSAGE_EXTRA_TOKENS;
    return leftTokens < 0;
  });
  return end === -1 ? passages : passages.slice(0, end);
}

/** What belongs together: the user's turns, and all that answers them. */
export function exchangesOf<Turn extends { readonly role: "user" | "assistant" }>(
  history: readonly Turn[],
): Turn[][] {
  const exchanges: Turn[][] = [];
  let before: Turn["role"] = "assistant";
  for (const turn of history) {
    const last = exchanges.at(-1);
    if (!last || (turn.role === "user" && before !== "user")) exchanges.push([turn]);
    else last.push(turn);
    before = turn.role;
  }
  return exchanges;
}
