/** What the doubles of model providers say. */

/** The canonical answer: sixty tokens, as in Failover Bench. */
export const CANONICAL_TOKENS: readonly string[] = (
  "The quick answer is that every part of this system has one task and does it without looking around. " +
  "A message comes in at the edge, finds the agent it is meant for, and waits there for its turn. " +
  "The agent asks a model, and when that model fails it asks the next one, " +
  "until somebody answers, in time, always."
).split(/(?<= )/);

/** Longest part of a question that is repeated, characters. */
const ECHO_CHARACTERS_MAX = 200;

/** The whole of the canonical answer. */
export const CANONICAL_TEXT = CANONICAL_TOKENS.join("");

/** The tokens of a healthy answer: the question, then `tokens`. */
export function answerTokens(question: string, tokens: readonly string[] = CANONICAL_TOKENS): string[] {
  return [`You said: ${question.slice(0, ECHO_CHARACTERS_MAX)}\n\n`, ...tokens];
}

/** The whole text of a healthy answer. */
export function answerText(question: string, tokens?: readonly string[]): string {
  return answerTokens(question, tokens).join("");
}

/** The text of the last message of the user. */
export function questionOf(messages: unknown): string {
  const all = Array.isArray(messages) ? messages : [];
  const last = all.findLast((message) => message?.role === "user");
  return typeof last?.content === "string" ? last.content : "";
}

/** Tokens of a conversation, as the doubles count them. */
export function promptTokens(messages: unknown): number {
  const all = Array.isArray(messages) ? messages : [];
  return all.reduce((sum, message) => sum + 4 + Math.ceil(String(message?.content ?? "").length / 4), 0);
}
