/**
 * No model at all: quotes the best passages of the agent's knowledge and says where they stand, or gives the
 * preset reply. It makes a machine without models useful, and never pretends to have understood the question.
 */
import { chooseExcerpts } from "./choose-excerpts.ts";
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

function answerTo({ question, passages, presetReply }: ModelRequest): string {
  const found = passages.filter((passage) => passage.text.trim() !== "");
  if (found.length === 0) return presetReply;
  const excerpts = chooseExcerpts(
    question,
    found.map(({ text }) => text),
    PASSAGES_MAX,
  );
  const quotations = found
    .slice(0, PASSAGES_MAX)
    .map((passage, index) => quotePassage(passage, excerpts[index] ?? passage.text, index + 1));
  return [INTRODUCTION, ...quotations].join("\n\n");
}
