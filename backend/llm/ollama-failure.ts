/**
 * Classifies what Ollama says when it fails (server 0.33: `server/routes.go`, `llm/llama_server.go`). It has no
 * error codes: the status decides, and wording only where one status carries different cases.
 */
import type { ParleyError } from "../../core/errors/parley-error.ts";
import type { ModelFailureReason } from "./language-model.ts";
import { modelFailure } from "./model-failure.ts";
import { parseRetryAfterMs } from "./parse-retry-after.ts";
import { providerCause } from "./provider-cause.ts";

/**
 * 429 and 402 come from cloud models. 499 is a request that was canceled, by nobody here: like all of 4xx that is
 * not named, it is refused and not sent again.
 */
const REASON_BY_STATUS: Readonly<Record<number, ModelFailureReason>> = {
  401: "provider-credentials",
  402: "quota-exhausted",
  403: "provider-credentials",
  404: "model-not-found",
  408: "provider-unavailable",
  413: "context-window",
  429: "rate-limited",
  451: "content-policy",
};

/** "the input length exceeds the context length", "request (8889 tokens) exceeds the available context size". */
const TOO_LONG = /context (?:length|size|window)|exceed_context_size/i;

/** Models behind Ollama's cloud, and proxies in front of it, refuse content in words only. */
const CONTENT_REFUSED = /content (?:policy|filter|(?:is )?not allowed)|\bmoderation\b|\bflagged\b/i;

/** "server busy, please try again.  maximum pending requests exceeded": its own queue is full. */
const BUSY = /server busy|overloaded/i;

/** Longest error text that is looked at, characters. */
const ERROR_CHARACTERS_MAX = 10_000;

/** The failure behind a response with an error status. */
export function ollamaStatusFailure(status: number, body: string, headers: Headers): ParleyError {
  const words = wordsOf(body);
  const cause = providerCause(`${status}: ${words}`);
  return modelFailure(reasonOf(status, words), { cause, retryAfterMs: parseRetryAfterMs(headers) });
}

/** The failure behind an `{"error": …}` line inside a stream: mostly a runner that died. */
export function ollamaStreamFailure(error: unknown): ParleyError {
  const words = typeof error === "string" ? error : (JSON.stringify(error) ?? "");
  const reason = TOO_LONG.test(words) ? "context-window" : "provider-unavailable";
  return modelFailure(reason, { cause: providerCause(`in stream: ${words}`) });
}

function reasonOf(status: number, words: string): ModelFailureReason {
  if ((status === 400 || status === 500) && TOO_LONG.test(words)) return "context-window";
  if ((status === 400 || status === 403) && CONTENT_REFUSED.test(words)) return "content-policy";
  if (status === 503 && BUSY.test(words)) return "overloaded";
  return REASON_BY_STATUS[status] ?? (status >= 500 ? "provider-unavailable" : "provider-refused");
}

/** The text of `{"error": "…"}`, or the body as it is. */
function wordsOf(body: string): string {
  const text = body.slice(0, ERROR_CHARACTERS_MAX);
  try {
    const { error } = JSON.parse(text) as { error?: unknown };
    return typeof error === "string" ? error : text;
  } catch {
    return text;
  }
}
