/**
 * No model at all: quotes the best passages of the agent's knowledge and says where they stand, or gives the
 * preset reply. It makes a machine without models useful, and never pretends to have understood the question.
 */
import { estimateUsage } from "./estimate-usage.ts";
import type { LanguageModel, ModelEvent, ModelRequest } from "./language-model.ts";
import { quotePassage } from "./quote-passage.ts";

/** Its name in every reply. */
export const BUILTIN_MODEL_ID = "builtin/extractive";

/** More quotations than this are a search result, not an answer. */
const PASSAGES_MAX = 3;
const INTRODUCTION = "These passages fit the question best:";
/** Words per piece of the stream. */
const PIECE_PATTERN = /(?:\S+\s*){1,8}|\s+/g;

/** The only model that is always there. */
export class BuiltinLanguageModel implements LanguageModel {
  readonly id = BUILTIN_MODEL_ID;

  async *stream(request: ModelRequest, signal: AbortSignal): AsyncGenerator<ModelEvent> {
    const text = answerTo(request);
    for (const piece of text.match(PIECE_PATTERN) ?? []) {
      signal.throwIfAborted();
      yield { type: "text-delta", text: piece };
    }
    yield { type: "usage", usage: estimateUsage(request.messages, text) };
    yield { type: "finish", reason: "stop" };
  }
}

function answerTo({ passages, presetReply }: ModelRequest): string {
  const best = passages.filter((passage) => passage.text.trim() !== "").slice(0, PASSAGES_MAX);
  if (best.length === 0) return presetReply;
  return [INTRODUCTION, ...best.map((passage, index) => quotePassage(passage, index + 1))].join("\n\n");
}
