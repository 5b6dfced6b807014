/**
 * Models of an Ollama server, by its own API: its OpenAI-compatible one swallows errors in mid-stream and cannot
 * be told not to cut the conversation. Owns one connection per answer; decides nothing about new tries.
 */
import type { ChatRequest, ChatResponse } from "ollama/browser";
import { definedOnly } from "./defined-only.ts";
import { hostOf } from "./host-of.ts";
import type { FinishReason, LanguageModel, ModelEvent, ModelRequest, ModelUsage } from "./language-model.ts";
import { linkAbort } from "./linked-abort.ts";
import { modelFailure } from "./model-failure.ts";
import { type OllamaServer, ollamaClient } from "./ollama-client.ts";
import { transportFailure } from "./transport-failure.ts";

/** Which model, where. */
export interface OllamaLanguageModelOptions {
  /** First half of the model's id, e.g. `ollama`. */
  readonly providerId: string;
  /** The model's tag, e.g. `llama3.2:3b`. */
  readonly model: string;
  readonly server: OllamaServer;
  /**
   * The window that the server makes room for, tokens. Always the same for one model: another one loads the model
   * anew, and the server's own default depends on its memory.
   */
  readonly contextTokens: number;
}

/** One model of an Ollama server. */
export class OllamaLanguageModel implements LanguageModel {
  readonly id: string;
  readonly host: string;
  readonly #model: string;
  readonly #server: OllamaServer;
  readonly #contextTokens: number;

  constructor({ providerId, model, server, contextTokens }: OllamaLanguageModelOptions) {
    this.id = `${providerId}/${model}`;
    this.host = hostOf(server.host);
    this.#model = model;
    this.#server = server;
    this.#contextTokens = contextTokens;
  }

  async *stream(request: ModelRequest, signal: AbortSignal): AsyncGenerator<ModelEvent> {
    signal.throwIfAborted();
    const { controller: connection, unlink } = linkAbort(signal);
    const state = { answering: false };
    let ended = false;
    try {
      const onStream = () => {
        state.answering = true;
      };
      const client = await ollamaClient({ server: this.#server, signal: connection.signal, onStream });
      let hasToolCalls = false;
      for await (const chunk of await client.chat(chatRequest(this.#model, this.#contextTokens, request))) {
        const { text, toolCalls } = contentOf(chunk);
        if (text) yield { type: "text-delta", text };
        hasToolCalls ||= toolCalls.length > 0;
        yield* toolCalls;
        signal.throwIfAborted();
        if (!chunk.done) continue;
        ended = true;
        // The answer is whole: from here on an abort must not cost the pool its connection.
        unlink();
        const usage = usageOf(chunk);
        if (usage) yield { type: "usage", usage };
        yield { type: "finish", reason: finishReasonOf(chunk.done_reason, hasToolCalls) };
        return;
      }
      throw modelFailure("truncated");
    } catch (error) {
      signal.throwIfAborted();
      throw transportFailure(error, state);
    } finally {
      unlink();
      // The SDK leaves the connection open when its stream is left early.
      if (!ended) connection.abort();
    }
  }
}

/**
 * The body of the request; the SDK adds to it, so it is made anew for every call.
 *
 * - `truncate: false`: by default the server drops the front of a conversation that is too long, in silence;
 *   this way it answers 400. `shift`, its companion during generation, is left alone.
 * - `think: false`: thinking is on by default, is never shown, and to limits on silence it is silence.
 */
function chatRequest(
  model: string,
  contextTokens: number,
  { messages, parameters }: ModelRequest,
): ChatRequest & { stream: true; truncate: false } {
  const { temperature, topP, outputTokensMax, seed, stop } = parameters;
  return {
    model,
    messages: messages.map(({ role, text }) => ({ role, content: text })),
    stream: true,
    truncate: false,
    think: false,
    options: definedOnly({
      num_ctx: contextTokens,
      temperature,
      top_p: topP,
      num_predict: outputTokensMax,
      seed,
      stop: stop && [...stop],
    }),
  };
}

interface ChunkContent {
  readonly text: string;
  readonly toolCalls: readonly ToolCall[];
}

type ToolCall = Extract<ModelEvent, { type: "tool-call" }>;

/** What a chunk carries, the last one included. */
function contentOf(chunk: ChatResponse): ChunkContent {
  const { content, tool_calls: calls }: Partial<ChatResponse["message"]> = chunk.message ?? {};
  return {
    text: typeof content === "string" ? content : "",
    toolCalls: Array.isArray(calls) ? calls.map(toolCallOf) : [],
  };
}

/** A call comes whole, its arguments as an object; the SDK's types lack its `id`. */
function toolCallOf(call: unknown, position: number): ToolCall {
  const { id, function: called } = (call ?? {}) as { id?: unknown; function?: { [key: string]: unknown } };
  if (typeof called?.["name"] !== "string") throw modelFailure("garbled");
  return {
    type: "tool-call",
    id: typeof id === "string" ? id : `call_${position}`,
    name: called["name"],
    arguments: JSON.stringify(called["arguments"] ?? {}),
  };
}

/** Go leaves out zeros: one number that is missing is 0; both missing is a server that does not count. */
function usageOf(chunk: ChatResponse): ModelUsage | undefined {
  const { prompt_eval_count: inputTokens, eval_count: outputTokens }: Partial<ChatResponse> = chunk;
  if (inputTokens === undefined && outputTokens === undefined) return undefined;
  return { inputTokens: inputTokens ?? 0, outputTokens: outputTokens ?? 0 };
}

/**
 * A missing or unknown reason is a stop: `done` says that the answer is whole. `load` and `unload` answer a
 * request without messages, which ours never is.
 */
function finishReasonOf(doneReason: string | undefined, hasToolCalls: boolean): FinishReason {
  if (doneReason === "load" || doneReason === "unload") throw modelFailure("garbled");
  if (doneReason === "length") return "length";
  return hasToolCalls ? "tool-calls" : "stop";
}
