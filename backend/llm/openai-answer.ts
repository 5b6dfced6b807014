/**
 * Puts the chunks of a Chat Completions stream together: text, tool calls, usage, finish reason. Owns no
 * connection and no time.
 *
 * One chunk of invalid JSON is survived if the answer turns out whole without it: when the provider counts as many
 * tokens as pieces of text came. A piece has at least one token, so had a piece been lost, there would be fewer.
 */
import type { FinishReason, ModelEvent, ModelUsage } from "./language-model.ts";
import { modelFailure } from "./model-failure.ts";
import { openaiStreamFailure } from "./openai-failure.ts";
import { ToolCallAssembler } from "./tool-call-assembler.ts";

/**
 * Finish reasons by their names on the wire: OpenAI's, and those under which compatible servers report an
 * output limit. A name that is in neither table is a `stop`: the server did say that it had finished, and
 * names of that kind abound (`eos`, `end_turn`, `stop_sequence`). An empty name is no finish reason.
 */
const FINISH_REASONS: Readonly<Record<string, FinishReason>> = {
  length: "length",
  max_tokens: "length",
  model_length: "length",
  tool_calls: "tool-calls",
  function_call: "tool-calls",
  content_filter: "content-filter",
};

/** Names under which servers report that they gave up (OpenRouter, vLLM): not an answer. */
const GAVE_UP = new Set(["error", "abort", "aborted", "cancelled", "canceled"]);

type Json = Readonly<Record<string, unknown>>;

/** One answer, as far as it has come. */
export class OpenaiAnswer {
  readonly #secret: string | undefined;
  readonly #toolCalls = new ToolCallAssembler();
  #usage: ModelUsage | undefined;
  #finishReason: FinishReason | undefined;
  #complete = false;
  #isDamaged = false;
  /** Pieces of text so far. */
  #pieces = 0;

  /** @param secret cut out of the causes of failures */
  constructor(secret?: string) {
    this.#secret = secret;
  }

  /** Whether a finish reason has come. What fails after it does not concern the answer. */
  get finished(): boolean {
    return this.#finishReason !== undefined;
  }

  /** Whether nothing more is to come: the usage came with the finish reason or after it. */
  get complete(): boolean {
    return this.#complete;
  }

  /** Takes the JSON of one event; returns its text, often empty. Throws a model failure, or SyntaxError. */
  accept(event: string, data: string): string {
    const chunk = this.#parse(event, data);
    if (chunk === undefined) return "";
    if (!isJson(chunk)) throw modelFailure("garbled");
    if (chunk["error"] || event === "error" || chunk["object"] === "error") {
      throw openaiStreamFailure(chunk["error"] || chunk, this.#secret);
    }
    const choice = firstChoice(chunk["choices"]);
    const text = choice ? this.#acceptChoice(choice) : "";
    if (text) this.#pieces += 1;
    const usage = usageOf(chunk["usage"]);
    if (usage) {
      this.#usage = usage;
      this.#complete = this.finished;
    }
    return text;
  }

  /** The last events, when the stream has ended. Throws `truncated` if it had not finished. */
  end(): ModelEvent[] {
    if (this.#finishReason === undefined) throw modelFailure("truncated");
    const events: ModelEvent[] = this.#toolCalls.calls();
    const isProvablyWhole = events.length === 0 && this.#usage?.outputTokens === this.#pieces;
    if (this.#isDamaged && !isProvablyWhole) throw modelFailure("garbled");
    if (this.#usage) events.push({ type: "usage", usage: this.#usage });
    events.push({ type: "finish", reason: this.#finishReason });
    return events;
  }

  /** The JSON of an event; undefined for the first one that is invalid. */
  #parse(event: string, data: string): unknown {
    try {
      return JSON.parse(data);
    } catch (error) {
      if (this.finished || this.#isDamaged || event === "error") throw error;
      this.#isDamaged = true;
      return undefined;
    }
  }

  #acceptChoice(choice: Json): string {
    const delta = isJson(choice["delta"]) ? choice["delta"] : {};
    this.#toolCalls.accept(delta["tool_calls"]);
    const reason = choice["finish_reason"];
    if (typeof reason === "string" && reason !== "") this.#finish(reason);
    // A refusal is the model's answer in other words: it stands where the text would.
    return textOf(delta["content"]) || textOf(delta["refusal"]);
  }

  #finish(reason: string): void {
    if (GAVE_UP.has(reason)) throw modelFailure("truncated");
    this.#finishReason = (Object.hasOwn(FINISH_REASONS, reason) && FINISH_REASONS[reason]) || "stop";
  }
}

/** Only one choice is ever asked for; whatever a server sends beside it is not the answer. */
function firstChoice(choices: unknown): Json | undefined {
  if (!Array.isArray(choices)) return undefined;
  return choices.find((choice) => isJson(choice) && (choice["index"] ?? 0) === 0);
}

/** Some proxies send zeros for "unknown"; no call costs nothing. */
function usageOf(usage: unknown): ModelUsage | undefined {
  if (!isJson(usage)) return undefined;
  const inputTokens = countOf(usage["prompt_tokens"]);
  const outputTokens = countOf(usage["completion_tokens"]);
  return inputTokens + outputTokens > 0 ? { inputTokens, outputTokens } : undefined;
}

function countOf(value: unknown): number {
  return typeof value === "number" && Number.isSafeInteger(value) && value > 0 ? value : 0;
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function isJson(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
