/**
 * What the doubles of model providers do, chosen by the model's name in the request; any other name is healthy.
 * `N` stands for a number of tokens, `MS` for milliseconds. After an `@` a name may carry anything: `cut-5@a`
 * and `cut-5@b` behave alike and count apart.
 *
 * | name | what happens |
 * |---|---|
 * | `healthy` | the whole answer |
 * | `rate-limited-once` | 429 with `Retry-After` once, then healthy |
 * | `rate-limited` | 429 always, no header |
 * | `error-500-once` | 500 once, then healthy |
 * | `unavailable` | 503 always |
 * | `down-MS` | 503 for so long after the first request, then healthy |
 * | `reset-once` | connection reset before any byte once, then healthy |
 * | `silent` | the request is accepted, nothing is ever answered |
 * | `headers-only` | headers, then silence |
 * | `slow-MS` | headers at once, the first token so much later, then healthy |
 * | `cut-N` | the connection breaks after N tokens |
 * | `end-N` | a clean end after N tokens, without a finish reason |
 * | `end-done-N` | the same, with `[DONE]` (OpenAI only) |
 * | `stall-N` | silence after N tokens |
 * | `garbage-N` | an event of invalid JSON after N tokens, then the rest as if nothing had been |
 * | `lost-N` | an event of invalid JSON in place of the token after N tokens, then the rest as if nothing had been |
 * | `stream-error-N` | an error object in the stream after N tokens, then a clean end |
 * | `no-done` | a whole answer without `[DONE]` (OpenAI only) |
 * | `no-usage` | a whole answer that does not say what it cost |
 * | `open-end` | a whole answer up to its finish reason, then silence (OpenAI only) |
 * | `open-done` | a whole answer and what it cost, then silence in place of `[DONE]` (OpenAI only) |
 * | `cut-end` | a whole answer up to its finish reason, then the connection breaks (OpenAI only) |
 * | `empty` | finished, without any text |
 * | `length-N` | finished after N tokens, at the output limit |
 * | `content-filter-N` | stopped by the content filter after N tokens (OpenAI only) |
 * | `tool-call` | a call of a tool in place of text |
 * | `context-length` | 400, the prompt is too long |
 * | `content-policy` | 400, the content is refused |
 * | `quota` | the account has no credit left: 429 (OpenAI), 402 (Ollama) |
 * | `no-prefill` | 400 when the last message is the assistant's, else healthy |
 * | `status-CODE` | that HTTP status, with the provider's form of error; 401 quotes the caller's key |
 *
 * Embeddings: `wrong-count` (a vector too few), `mixed-length`, `nan`, `no-numbers`, `empty-vector`, `float` and
 * `base64` (that encoding, whatever was asked for), `reversed` (data in reverse order, OpenAI only), and of the
 * above `silent`, `context-length`, `status-CODE`.
 */

/** A fault, taken apart. */
export interface Fault {
  /** The name without its number, e.g. `cut`. */
  readonly kind: string;
  /** The number in the name; 0 without one. */
  readonly amount: number;
}

/** Few names come again and again; thousands of requests per second must not parse them each time. */
const known = new Map<string, Fault>();
const KNOWN_MAX = 1_000;

/** The fault that a model's name asks for. */
export function faultOf(model: string): Fault {
  let fault = known.get(model);
  if (!fault) {
    const [, kind = "", amount = "0"] = /^(.*?)(?:-(\d+))?(?:@.*)?$/s.exec(model) ?? [];
    // The one name that ends in a number of its own, before `-once`, is not matched as an amount.
    fault = { kind, amount: Number(amount) };
    if (known.size < KNOWN_MAX) known.set(model, fault);
  }
  return fault;
}

/** What a double does in place of an answer. */
export type Refusal =
  | "rate-limited-once"
  | "rate-limited"
  | "error-500-once"
  | "unavailable"
  | "reset-once"
  | "silent"
  | "context-length"
  | "content-policy"
  | "quota"
  | "no-prefill"
  | "status";

/** What a fault depends on beside its name. */
export interface FaultState {
  /** Since the model was first asked for; 0 the first time. */
  readonly ageMs: number;
  readonly messages: unknown;
}

/** The refusal that a fault means now; undefined when there is to be an answer, whole or not. */
export function refusalOf({ kind, amount }: Fault, { ageMs, messages }: FaultState): Refusal | undefined {
  switch (kind) {
    case "rate-limited-once":
    case "error-500-once":
    case "reset-once":
      return ageMs === 0 ? kind : undefined;
    case "down":
      return ageMs < amount ? "unavailable" : undefined;
    case "no-prefill":
      return Array.isArray(messages) && messages.at(-1)?.role === "assistant" ? kind : undefined;
    case "rate-limited":
    case "unavailable":
    case "silent":
    case "context-length":
    case "content-policy":
    case "quota":
    case "status":
      return kind;
    default:
      return undefined;
  }
}
