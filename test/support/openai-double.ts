/**
 * A stand-in for an OpenAI-compatible server: Chat Completions (stream or not), embeddings, and the list of
 * models, on the exact wire, over real sockets. Which model misbehaves how: see the table in `model-faults.ts`.
 */
import type { ServerResponse } from "node:http";
import { answerTokens, CANONICAL_TOKENS, promptTokens, questionOf } from "./double-answer.ts";
import { hashedEmbedding } from "./hashed-embedding.ts";
import { bareKey, type Exchange, ModelDouble, play, type Script, sendJson } from "./model-double.ts";
import { type Fault, faultOf, type Refusal, refusalOf } from "./model-faults.ts";
import * as wire from "./openai-wire.ts";

/** How the double behaves; all of it has defaults. */
export interface OpenaiDoubleOptions {
  readonly port?: number;
  /** Before the first token, milliseconds. Default 0. */
  readonly latencyMs?: number;
  /** Between two tokens, milliseconds; 0 sends all of them at once. Default 0. */
  readonly tokenIntervalMs?: number;
  /** What follows the repeated question. Default the canonical answer. */
  readonly tokens?: readonly string[];
  /** Whether an answer begins with the question. Default true. */
  readonly repeatsQuestion?: boolean;
  /** How long a stream that falls silent stays open before it is closed, milliseconds. Default for ever. */
  readonly stallMs?: number | undefined;
  /** `Retry-After` of `rate-limited-once`. Default 2. */
  readonly retryAfterSeconds?: number;
  /** Names for `GET /v1/models`. Default an embedding model and `healthy`. */
  readonly models?: readonly string[];
  /** Length of embeddings. Default 64. */
  readonly dimensions?: number;
}

/** A running double, and the base URL for its clients. */
export type OpenaiDouble = ModelDouble & { readonly baseUrl: string };

/** Starts a double on the loopback. */
export async function startOpenaiDouble(options: OpenaiDoubleOptions = {}): Promise<OpenaiDouble> {
  const server = new OpenaiServer(options);
  const double = new ModelDouble((exchange) => server.handle(exchange, double));
  await double.listen(options.port);
  return Object.assign(double, { baseUrl: `${double.url}/v1` });
}

type Requested = { model?: string; stream?: boolean; messages?: { role: string }[] };

class OpenaiServer {
  readonly #options: Required<Omit<OpenaiDoubleOptions, "port" | "stallMs">> & {
    stallMs: number | undefined;
  };
  readonly #created = Math.floor(Date.now() / 1000);
  #responses = 0;

  constructor(options: OpenaiDoubleOptions) {
    this.#options = {
      latencyMs: options.latencyMs ?? 0,
      tokenIntervalMs: options.tokenIntervalMs ?? 0,
      tokens: options.tokens ?? CANONICAL_TOKENS,
      repeatsQuestion: options.repeatsQuestion ?? true,
      stallMs: options.stallMs,
      retryAfterSeconds: options.retryAfterSeconds ?? 2,
      models: options.models ?? ["text-embedding-3-small", "healthy"],
      dimensions: options.dimensions ?? 64,
    };
  }

  handle(exchange: Exchange, double: ModelDouble): void {
    const { request, response } = exchange;
    const { model, messages, stream } = (request.body ?? {}) as Requested;
    if (request.path === "/v1/models") {
      this.#listModels(response);
    } else if (typeof model !== "string") {
      sendError(response, 400, ["you must provide a model parameter"]);
    } else {
      const fault = faultOf(model);
      const refusal = refusalOf(fault, { ageMs: double.ageMs(model), messages });
      if (refusal) this.#refuse(refusal, fault, exchange);
      else if (request.path === "/v1/embeddings") this.#embed(exchange, fault);
      else if (request.path !== "/v1/chat/completions") sendError(response, 404, ["no such route"]);
      else if (stream) this.#stream(exchange, fault);
      else this.#complete(exchange, fault);
    }
  }

  #refuse(refusal: Refusal, { amount }: Fault, { request, response }: Exchange): void {
    if (refusal === "silent") return;
    if (refusal === "reset-once") {
      response.socket?.resetAndDestroy();
      return;
    }
    if (refusal === "rate-limited-once") {
      response.setHeader("retry-after", String(this.#options.retryAfterSeconds));
    }
    const [status, ...words] = REFUSALS[refusal] ?? [
      amount,
      `Incorrect API key provided: ${bareKey(request)}`,
    ];
    sendError(response, status, words);
  }

  #stream({ request, response }: Exchange, fault: Fault): void {
    const { model, messages } = request.body as Required<Requested>;
    const head = { id: this.#nextId(), created: this.#created, model };
    const tokens = this.#tokensFor(messages);
    const script = scriptOf(fault, head, tokens, usageOf(messages, tokens));
    play(response, streamHeaders(head.id), script, this.#options);
  }

  #complete({ request, response }: Exchange, { kind }: Fault): void {
    const { model, messages } = request.body as Required<Requested>;
    const head = { id: this.#nextId(), created: this.#created, model };
    const tokens = kind === "empty" ? [] : this.#tokensFor(messages);
    const body = wire.completionBody(head, tokens.join(""), "stop", usageOf(messages, tokens));
    setTimeout(() => sendJson(response, 200, body, requestHeaders(head.id)), this.#options.latencyMs);
  }

  #embed({ request, response }: Exchange, { kind }: Fault): void {
    const { input, encoding_format: encoding } = request.body as {
      input: string | string[];
      encoding_format?: string;
    };
    const texts = Array.isArray(input) ? input : [input];
    const base64 = kind === "base64" || kind === "nan" || (kind !== "float" && encoding === "base64");
    const vectors = texts.map((text, index) => {
      const vector = hashedEmbedding(text, this.#options.dimensions);
      if (kind === "nan") vector[0] = Number.NaN;
      if (kind === "empty-vector") return base64 ? "" : [];
      if (kind === "no-numbers") return ["1", null];
      const whole = kind === "mixed-length" && index > 0 ? vector.slice(1) : vector;
      return base64 ? Buffer.from(whole.buffer).toString("base64") : [...whole];
    });
    const data = vectors.map((embedding, index) => ({ object: "embedding", index, embedding }));
    if (kind === "wrong-count") data.pop();
    if (kind === "reversed") data.reverse();
    const tokens = Math.ceil(texts.join("").length / 4);
    const usage = { prompt_tokens: tokens, total_tokens: tokens };
    sendJson(
      response,
      200,
      { object: "list", data, model: request.body.model, usage },
      requestHeaders(this.#nextId()),
    );
  }

  #listModels(response: ServerResponse): void {
    const data = this.#options.models.map((id) => ({
      id,
      object: "model",
      created: this.#created,
      owned_by: "double",
    }));
    sendJson(response, 200, { object: "list", data });
  }

  #tokensFor(messages: unknown): readonly string[] {
    const { repeatsQuestion, tokens } = this.#options;
    return repeatsQuestion ? answerTokens(questionOf(messages), tokens) : tokens;
  }

  #nextId(): string {
    this.#responses += 1;
    return `chatcmpl-double${this.#responses}`;
  }
}

/** What the stream of a fault consists of. */
function scriptOf(
  { kind, amount }: Fault,
  head: wire.CompletionHead,
  tokens: readonly string[],
  usage: wire.WireUsage,
): Script {
  const chunks = wire.tokenChunks(head, tokens);
  const some = chunks.slice(0, 1 + amount);
  const rest = chunks.slice(1 + amount);
  const finish = (reason: string) => wire.finishChunk(head, reason);
  const end = (reason: string) => [finish(reason), wire.usageChunk(head, usage), wire.DONE_EVENT];
  const scripts: Record<string, () => Script> = {
    "headers-only": () => ({ pieces: [], ending: "stall" }),
    slow: () => ({ pieces: [...chunks, ...end("stop")], headersAheadMs: amount }),
    cut: () => ({ pieces: some, ending: "cut" }),
    end: () => ({ pieces: some }),
    "end-done": () => ({ pieces: [...some, wire.DONE_EVENT] }),
    stall: () => ({ pieces: some, ending: "stall" }),
    garbage: () => ({ pieces: [...some, wire.garbageEvent(head), ...rest, ...end("stop")] }),
    lost: () => ({ pieces: [...some, wire.garbageEvent(head), ...rest.slice(1), ...end("stop")] }),
    "stream-error": () => ({ pieces: [...some, wire.errorEvent()] }),
    "no-done": () => ({ pieces: [...chunks, ...end("stop").slice(0, -1)] }),
    "no-usage": () => ({ pieces: [...chunks, finish("stop"), wire.DONE_EVENT] }),
    "open-end": () => ({ pieces: [...chunks, finish("stop")], ending: "stall" }),
    "open-done": () => ({ pieces: [...chunks, ...end("stop").slice(0, -1)], ending: "stall" }),
    "cut-end": () => ({ pieces: [...chunks, finish("stop")], ending: "cut" }),
    empty: () => ({ pieces: [...chunks.slice(0, 1), ...end("stop")] }),
    length: () => ({ pieces: [...some, ...end("length")] }),
    "content-filter": () => ({ pieces: [...some, ...end("content_filter")] }),
    "tool-call": () => ({ pieces: [...wire.toolCallChunks(head), ...end("tool_calls")] }),
  };
  return scripts[kind]?.() ?? { pieces: [...chunks, ...end("stop")] };
}

type Words = readonly [message: string, type?: string, code?: string];

/** Status, message, type and code of the refusals that are a response. */
const REFUSALS: Partial<Record<Refusal, readonly [status: number, ...Words]>> = {
  "rate-limited-once": [429, "Rate limit reached for requests", "requests", "rate_limit_exceeded"],
  "rate-limited": [429, "Rate limit reached for requests", "requests", "rate_limit_exceeded"],
  "error-500-once": [500, "The server had an error", "server_error"],
  unavailable: [503, "The engine is currently overloaded", "server_error"],
  "context-length": [400, "Your input is too long.", "invalid_request_error", "context_length_exceeded"],
  "content-policy": [400, "Your request was rejected.", "invalid_request_error", "content_policy_violation"],
  quota: [429, "You exceeded your current quota.", "insufficient_quota", "insufficient_quota"],
  "no-prefill": [400, "The last message must not be the assistant's."],
};

function sendError(response: ServerResponse, status: number, [message, type, code]: Words): void {
  sendJson(response, status, wire.errorBody(message, type, code), requestHeaders("error"));
}

function usageOf(messages: unknown, tokens: readonly string[]): wire.WireUsage {
  return { promptTokens: promptTokens(messages), completionTokens: tokens.length };
}

function requestHeaders(id: string): Record<string, string> {
  return {
    "openai-organization": "double",
    "openai-processing-ms": "1",
    "openai-version": "2020-10-01",
    "x-request-id": `req_${id}`,
    "x-ratelimit-limit-requests": "10000",
    "x-ratelimit-remaining-requests": "9999",
    "x-ratelimit-reset-requests": "6ms",
  };
}

function streamHeaders(id: string): Record<string, string> {
  return { "content-type": "text/event-stream; charset=utf-8", ...requestHeaders(id) };
}
