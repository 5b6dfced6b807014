/** The wire of OpenAI's Chat Completions and Embeddings, as the real server writes it: chunks, bodies, errors. */

/** Names one response. */
export interface CompletionHead {
  readonly id: string;
  readonly created: number;
  readonly model: string;
}

/** Tokens of one call. */
export interface WireUsage {
  readonly promptTokens: number;
  readonly completionTokens: number;
}

export const DONE_EVENT = "data: [DONE]\n\n";

/** What stands before and after the part of a chunk that differs from token to token. */
function chunkHead({ id, created, model }: CompletionHead): string {
  const name = JSON.stringify(model);
  return `data: {"id":"${id}","object":"chat.completion.chunk","created":${created},"model":${name},"service_tier":"default","system_fingerprint":"fp_double"`;
}

/** The first chunk, which only names the role, and a chunk for each token. */
export function tokenChunks(head: CompletionHead, tokens: readonly string[]): string[] {
  const start = `${chunkHead(head)},"choices":[{"index":0,"delta":`;
  const role = `${start}{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}],"usage":null}\n\n`;
  return [role, ...tokens.map((token) => start + tokenTail(token))];
}

/** Few tokens come again and again: written once, they cost nothing at thousands of requests per second. */
const tails = new Map<string, string>();
const TAILS_MAX = 1_000;

function tokenTail(token: string): string {
  let tail = tails.get(token);
  if (tail === undefined) {
    tail = `{"content":${JSON.stringify(token)}},"logprobs":null,"finish_reason":null}],"usage":null}\n\n`;
    if (tails.size < TAILS_MAX) tails.set(token, tail);
  }
  return tail;
}

/** Chunks of a tool call: its name first, then its arguments in two pieces. */
export function toolCallChunks(head: CompletionHead): string[] {
  const pieces = [
    { index: 0, id: "call_double1", type: "function", function: { name: "look_up", arguments: "" } },
    { index: 0, function: { arguments: '{"city":' } },
    { index: 0, function: { arguments: '"Paris"}' } },
  ];
  const start = `${chunkHead(head)},"choices":[{"index":0,"delta":`;
  const role = `${start}{"role":"assistant","content":null},"logprobs":null,"finish_reason":null}],"usage":null}\n\n`;
  const calls = pieces.map(
    (piece) =>
      `${start}{"tool_calls":[${JSON.stringify(piece)}]},"logprobs":null,"finish_reason":null}],"usage":null}\n\n`,
  );
  return [role, ...calls];
}

/** The chunk that says why the model stopped. */
export function finishChunk(head: CompletionHead, reason: string): string {
  return `${chunkHead(head)},"choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"${reason}"}],"usage":null}\n\n`;
}

/** The chunk without choices that says what it cost (`stream_options.include_usage`). */
export function usageChunk(head: CompletionHead, usage: WireUsage): string {
  return `${chunkHead(head)},"choices":[],"usage":${JSON.stringify(usageBody(usage))}}\n\n`;
}

/** An event whose JSON is broken. */
export function garbageEvent(head: CompletionHead): string {
  return `${chunkHead(head).slice(0, -5)}\n\n`;
}

/** An error in the middle of a stream. */
export function errorEvent(): string {
  return `data: ${JSON.stringify(errorBody("The server had an error while processing your request.", "server_error"))}\n\n`;
}

/** A whole answer at once. */
export function completionBody(head: CompletionHead, text: string, reason: string, usage: WireUsage) {
  const message = { role: "assistant", content: text, refusal: null, annotations: [] };
  return {
    id: head.id,
    object: "chat.completion",
    created: head.created,
    model: head.model,
    choices: [{ index: 0, message, logprobs: null, finish_reason: reason }],
    usage: usageBody(usage),
    service_tier: "default",
    system_fingerprint: "fp_double",
  };
}

function usageBody({ promptTokens, completionTokens }: WireUsage) {
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
    prompt_tokens_details: { cached_tokens: 0, audio_tokens: 0 },
    completion_tokens_details: {
      reasoning_tokens: 0,
      audio_tokens: 0,
      accepted_prediction_tokens: 0,
      rejected_prediction_tokens: 0,
    },
  };
}

/** The body of every error. */
export function errorBody(message: string, type = "invalid_request_error", code: string | null = null) {
  return { error: { message, type, param: null, code } };
}
