/**
 * A stand-in for an Ollama server (0.33): `/api/chat` as NDJSON, `/api/embed`, `/api/tags`, `/api/version`, `/`,
 * on the exact wire, over real sockets. Like the real one it sends no headers before the first chunk. Which
 * model misbehaves how: see the table in `model-faults.ts`.
 */
import { answerTokens, CANONICAL_TOKENS, promptTokens, questionOf } from "./double-answer.ts";
import { hashedEmbedding } from "./hashed-embedding.ts";
import { bareKey, type Exchange, ModelDouble, play, type Script, sendJson } from "./model-double.ts";
import { type Fault, faultOf, type Refusal, refusalOf } from "./model-faults.ts";

/** How the double behaves; all of it has defaults. */
export interface OllamaDoubleOptions {
  readonly port?: number;
  /** Before the first chunk, headers included, milliseconds. Default 0. */
  readonly latencyMs?: number;
  /** Between two tokens, milliseconds; 0 sends all of them at once. Default 0. */
  readonly tokenIntervalMs?: number;
  /** What follows the repeated question. Default the canonical answer. */
  readonly tokens?: readonly string[];
  /** `Retry-After` of `rate-limited-once`. Default 2. */
  readonly retryAfterSeconds?: number;
  /** Tags of `GET /api/tags`. Default an embedding model and `healthy`. */
  readonly models?: readonly string[];
  /** Length of embeddings. Default 64. */
  readonly dimensions?: number;
}

/** A running double; `url` is its host. */
export type OllamaDouble = ModelDouble;

/** Starts a double on the loopback. */
export async function startOllamaDouble(options: OllamaDoubleOptions = {}): Promise<OllamaDouble> {
  const server = new OllamaServer(options);
  const double = new ModelDouble((exchange) => server.handle(exchange, double));
  await double.listen(options.port);
  return double;
}

const NDJSON = { "content-type": "application/x-ndjson" };

type Requested = { model?: string; stream?: boolean; messages?: { role: string }[] };

class OllamaServer {
  readonly #options: Required<Omit<OllamaDoubleOptions, "port">>;

  constructor(options: OllamaDoubleOptions) {
    this.#options = {
      latencyMs: options.latencyMs ?? 0,
      tokenIntervalMs: options.tokenIntervalMs ?? 0,
      tokens: options.tokens ?? CANONICAL_TOKENS,
      retryAfterSeconds: options.retryAfterSeconds ?? 2,
      models: options.models ?? ["nomic-embed-text:latest", "healthy"],
      dimensions: options.dimensions ?? 64,
    };
  }

  handle(exchange: Exchange, double: ModelDouble): void {
    const { request, response } = exchange;
    const { model, messages } = (request.body ?? {}) as Requested;
    if (request.path === "/") response.end("Ollama is running");
    else if (request.path === "/api/version") sendJson(response, 200, { version: "0.33.0" });
    else if (request.path === "/api/tags") sendJson(response, 200, { models: this.#options.models.map(tag) });
    else if (!model) sendJson(response, 400, { error: "model is required" });
    else {
      const fault = faultOf(model);
      const refusal = refusalOf(fault, { ageMs: double.ageMs(model), messages });
      if (refusal) this.#refuse(refusal, fault, exchange);
      else if (request.path === "/api/embed") this.#embed(exchange, fault);
      else if (request.path === "/api/chat") this.#chat(exchange, fault);
      else response.writeHead(404, { "content-type": "text/plain" }).end("404 page not found");
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
    const [status, error] = REFUSALS[refusal] ?? [amount, `refused: ${bareKey(request)}`];
    sendJson(response, status, { error });
  }

  #chat({ request, response }: Exchange, fault: Fault): void {
    const { model, messages, stream } = request.body as Required<Requested>;
    const tokens = answerTokens(questionOf(messages), this.#options.tokens);
    const metrics = { prompt_eval_count: promptTokens(messages), eval_count: tokens.length };
    if (stream === false) {
      sendJson(response, 200, wholeAnswer(model, tokens.join(""), metrics));
      return;
    }
    play(response, NDJSON, scriptOf(fault, model, tokens, metrics), this.#options);
  }

  #embed({ request, response }: Exchange, { kind }: Fault): void {
    const { model, input } = request.body as { model: string; input: string | string[] };
    const texts = Array.isArray(input) ? input : [input];
    const embeddings: unknown[] = texts.map((text, index) => {
      if (kind === "empty-vector") return [];
      if (kind === "no-numbers" || kind === "nan") return ["1", null];
      if (kind === "base64")
        return Buffer.from(hashedEmbedding(text, this.#options.dimensions).buffer).toString("base64");
      const vector = [...hashedEmbedding(text, this.#options.dimensions)];
      return kind === "mixed-length" && index > 0 ? vector.slice(1) : vector;
    });
    if (kind === "wrong-count") embeddings.pop();
    const metrics = { total_duration: 14_143_917, load_duration: 1_019_500, prompt_eval_count: texts.length };
    sendJson(response, 200, { model, embeddings, ...metrics });
  }
}

/** What the stream of a fault consists of. */
function scriptOf(
  { kind, amount }: Fault,
  model: string,
  tokens: readonly string[],
  metrics: object,
): Script {
  const chunks = tokens.map((token) => tokenLine(model, token));
  const some = chunks.slice(0, amount);
  const rest = chunks.slice(amount);
  const done = (reason: string) => doneLine(model, reason, metrics);
  const scripts: Record<string, () => Script> = {
    "headers-only": () => ({ pieces: [], ending: "stall" }),
    slow: () => ({ pieces: [...chunks, done("stop")], headersAheadMs: amount }),
    cut: () => ({ pieces: some, ending: "cut" }),
    end: () => ({ pieces: some }),
    stall: () => ({ pieces: some, ending: "stall" }),
    garbage: () => ({ pieces: [...some, '{"model":"gar\n', ...rest, done("stop")] }),
    lost: () => ({ pieces: [...some, '{"model":"gar\n', ...rest.slice(1), done("stop")] }),
    "stream-error": () => ({ pieces: [...some, STREAM_ERROR_LINE] }),
    "no-usage": () => ({ pieces: [...chunks, doneLine(model, "stop", {})] }),
    empty: () => ({ pieces: [done("stop")] }),
    length: () => ({ pieces: [...some, done("length")] }),
    "tool-call": () => ({ pieces: [TOOL_CALL_LINE, done("stop")] }),
  };
  return scripts[kind]?.() ?? { pieces: [...chunks, done("stop")] };
}

/** As measured with 0.33.3: llama-server's own error, as text within Ollama's. */
const CONTEXT_LENGTH_ERROR = JSON.stringify({
  error: {
    code: 400,
    message: "request (8889 tokens) exceeds the available context size (4096 tokens), try increasing it",
    type: "exceed_context_size_error",
    n_prompt_tokens: 8889,
    n_ctx: 4096,
  },
});

/** Status and words of the refusals that are a response; the two spaces of 503 are the server's. */
const REFUSALS: Partial<Record<Refusal, readonly [status: number, error: string]>> = {
  "rate-limited-once": [429, "too many requests"],
  "rate-limited": [429, "too many requests"],
  "error-500-once": [500, "llama runner process has terminated: exit status 2"],
  unavailable: [503, "server busy, please try again.  maximum pending requests exceeded"],
  "context-length": [400, CONTEXT_LENGTH_ERROR],
  "content-policy": [400, "content not allowed"],
  quota: [402, "you have reached your usage limit"],
  "no-prefill": [400, "the last message must not be the assistant's"],
};

const STREAM_ERROR_LINE = '{"error":"an error was encountered while running the model: CUDA error"}\n';

const CREATED_AT = "2026-11-20T12:00:00.123456789Z";

const TOOL_CALL_LINE = `${JSON.stringify({
  model: "tool-call",
  created_at: CREATED_AT,
  message: {
    role: "assistant",
    content: "",
    tool_calls: [
      { id: "call_a1b2c3d4", function: { index: 0, name: "look_up", arguments: { city: "Paris" } } },
    ],
  },
  done: false,
})}\n`;

function tokenLine(model: string, token: string): string {
  return `{"model":${JSON.stringify(model)},"created_at":"${CREATED_AT}","message":{"role":"assistant","content":${JSON.stringify(token)}},"done":false}\n`;
}

function doneLine(model: string, reason: string, metrics: object): string {
  return `${JSON.stringify({ ...wholeAnswer(model, "", metrics), done_reason: reason })}\n`;
}

function wholeAnswer(model: string, content: string, metrics: object) {
  return {
    model,
    created_at: CREATED_AT,
    message: { role: "assistant", content },
    done: true,
    done_reason: "stop",
    total_duration: 4_883_583_458,
    load_duration: 1_334_875,
    prompt_eval_duration: 342_546_000,
    eval_duration: 4_535_599_000,
    ...metrics,
  };
}

function tag(name: string) {
  const isEmbedding = name.includes("embed");
  const family = isEmbedding ? "nomic-bert" : "llama";
  return {
    name,
    model: name,
    modified_at: "2026-11-01T10:00:00Z",
    size: 1_321_098_329,
    digest: "baf6a787fdffd633537aa2eb51cfd54cb93ff08e28040095462bb63daf552878",
    details: {
      parent_model: "",
      format: "gguf",
      family,
      families: [family],
      parameter_size: "1.2B",
      quantization_level: "Q8_0",
    },
    capabilities: [isEmbedding ? "embedding" : "completion"],
  };
}
