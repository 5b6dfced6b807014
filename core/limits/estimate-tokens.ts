/** What a message will cost, before its call is made, and what it has cost, by the reply's metadata. */
import type { A2AMessage } from "../../proto/gen/parley/v1/agent_service_pb.js";
import { textOf } from "../messages/envelope.ts";
import type { Limits } from "./limits.ts";

/** The usual rule of thumb for English; other languages cost more, which settling charges. */
const CHARACTERS_PER_TOKEN = 4;
/** A middling answer. More would refuse calls that fit, less would admit more at once than the budget bears. */
const OUTPUT_TOKENS_EXPECTED = 256;

/**
 * Tokens to reserve for a message: its text, and an answer of middling length. Never more than a budget holds:
 * a small budget admits one call at a time, and goes into debt when that costs more.
 */
export function estimateTokens(message: A2AMessage, limits: Limits): number {
  const estimate = tokensOfMessage(message) + OUTPUT_TOKENS_EXPECTED;
  return Math.min(estimate, limits.tokensPerMinute, limits.tenantTokensPerMinute);
}

/** Tokens of a text, about. */
export function tokensOfText(text: string): number {
  return Math.ceil(text.length / CHARACTERS_PER_TOKEN);
}

/** Tokens of a message's text and of the history that it brings, about. */
export function tokensOfMessage({ body, history }: A2AMessage): number {
  const told = history ? [history.instructions, ...history.turns.map(({ text }) => text)] : [];
  const texts = body.case === "content" ? [...told, textOf(body.value)] : told;
  return texts.reduce((sum, text) => sum + tokensOfText(text), 0);
}

/** Tokens in and out that a reply says it has cost; 0 when it names none, as replies without a model do. */
export function tokensUsed(reply: A2AMessage): number {
  return usageTokens(reply.metadata?.["usage"]) ?? 0;
}

/** Tokens in and out of a `usage`, as replies and failures carry it; undefined for anything else. */
export function usageTokens(usage: unknown): number | undefined {
  if (typeof usage !== "object" || usage === null || Array.isArray(usage)) return undefined;
  return countsOf(usage as Record<string, unknown>);
}

function countsOf(usage: Record<string, unknown>): number {
  return count(usage["inputTokens"]) + count(usage["outputTokens"]);
}

function count(value: unknown): number {
  return typeof value === "number" && value > 0 && Number.isFinite(value) ? Math.ceil(value) : 0;
}
