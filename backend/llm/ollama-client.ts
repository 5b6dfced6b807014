/**
 * Builds the client of an Ollama server: one per call, because the SDK knows no signal per call (measured: 15
 * µs). Its `browser` entry, because the other one reads local files that a message names as images. The
 * client's `fetch` is ours: it carries the signal, turns errors into model failures before the SDK can print
 * them, and guards streams.
 */
import type { Ollama } from "ollama/browser";
import { guardNdjson } from "./ndjson-guard.ts";
import { ollamaStatusFailure } from "./ollama-failure.ts";

/** Where the server is. */
export interface OllamaServer {
  /** Base URL, e.g. `http://127.0.0.1:11434`. */
  readonly host: string;
  readonly fetch?: typeof fetch | undefined;
}

/** For whom the client is. */
export interface OllamaCall {
  readonly server: OllamaServer;
  /** Closes the connection when it aborts, before the headers and after. */
  readonly signal: AbortSignal;
  /** For a call that streams: called when the headers have come. Its lines are guarded from there. */
  readonly onStream?: () => void;
}

/** A client for one call. Its calls throw model failures, or what `fetch` and `JSON.parse` throw. */
export async function ollamaClient({ server, signal, onStream }: OllamaCall): Promise<Ollama> {
  const { Ollama } = await import("ollama/browser");
  const fetch = server.fetch ?? globalThis.fetch;
  const guardedFetch: typeof fetch = async (input, init) => {
    const response = await fetch(input, { ...init, signal });
    if (!response.ok) throw ollamaStatusFailure(response.status, await response.text(), response.headers);
    if (!onStream) return response;
    onStream();
    const body = response.body ?? new Blob([]).stream();
    return new Response(guardNdjson(body), { headers: response.headers });
  };
  return new Ollama({ host: server.host, fetch: guardedFetch });
}
