/** The port to language models: a stream of events with an abort signal. Policy (retry, fallback) is not here. */

import type { Passage } from "../knowledge/passage-retriever.ts";

/** A turn of the conversation as a model sees it. */
export interface ModelMessage {
  role: "system" | "user" | "assistant";
  text: string;
}

/** What is asked of a model. */
export interface ModelRequest {
  messages: readonly ModelMessage[];
  parameters: ModelParameters;
  /** The question alone, as it was searched for; for the builtin model. */
  question: string;
  /** What the agent's knowledge holds on the question, best first; for the builtin model. */
  passages: readonly Passage[];
  /** What the agent says when there is nothing better; for the builtin model. */
  presetReply: string;
}

/** Sampling parameters; what is undefined is left to the provider's default. */
export interface ModelParameters {
  temperature?: number | undefined;
  topP?: number | undefined;
  outputTokensMax?: number | undefined;
  seed?: number | undefined;
  stop?: readonly string[] | undefined;
}

/** Tokens of one call. `estimated` when the provider did not report them. */
export interface ModelUsage {
  inputTokens: number;
  outputTokens: number;
  estimated?: boolean;
}

/** Why a model stopped. `length`: it reached its output limit; the text is whole as far as it goes. */
export type FinishReason = "stop" | "length" | "tool-calls" | "content-filter";

/** One event of a model's stream. */
export type ModelEvent =
  | { type: "text-delta"; text: string }
  | { type: "tool-call"; id: string; name: string; arguments: string }
  | { type: "usage"; usage: ModelUsage }
  | { type: "finish"; reason: FinishReason };

/**
 * A model that can be asked.
 *
 * Contract of `stream`:
 * - Text comes in order, each piece not empty. `usage` comes at most once, before `finish`.
 * - A stream that ends without throwing has yielded exactly one `finish`, as its last event. Whatever else
 *   ends a provider's stream (cut, garbage, an error in the stream, no finish reason) throws.
 * - It throws ParleyError only. `retryable` says whether the same model may be asked again; `reason` says what
 *   happened, one of {@link ModelFailureReason}; `retryAfterMs` what the provider asked for.
 * - When `signal` aborts, the connection to the provider is closed and the stream throws the signal's reason.
 *   The same happens to the connection when the consumer stops early (`return`).
 */
export interface LanguageModel {
  /** `provider/model`, as named in replies, e.g. `openai/gpt-5-mini`. */
  readonly id: string;
  /** `host:port` of the server that is asked; undefined for a model inside this process, which needs no breaker. */
  readonly host?: string | undefined;
  stream(request: ModelRequest, signal: AbortSignal): AsyncIterable<ModelEvent>;
}

/** What happened to a model call that failed; the `reason` of its ParleyError. */
export type ModelFailureReason =
  /** Too many requests of ours now; retryable. */
  | "rate-limited"
  /** The provider has too much to do, whoever asks; retryable. */
  | "overloaded"
  /** The account has no credit left; the same model will not answer. */
  | "quota-exhausted"
  /** The provider refused our key. */
  | "provider-credentials"
  /** No such model. */
  | "model-not-found"
  /** The prompt is longer than the model's window. */
  | "context-window"
  /** The provider refused the content. */
  | "content-policy"
  /** The provider refused the request for another reason. */
  | "provider-refused"
  /** 5xx, connection refused or reset before the first token; retryable. */
  | "provider-unavailable"
  /** Nothing came within the first-token limit. */
  | "first-token-timeout"
  /** Nothing came for the idle limit, in the middle. */
  | "stalled"
  /** The stream ended, or was cut, without a finish reason. */
  | "truncated"
  /** What came could not be understood. */
  | "garbled"
  /** The stream ended well and said nothing. */
  | "empty-answer"
  /** The answer did not end within the longest length. */
  | "answer-too-long";
