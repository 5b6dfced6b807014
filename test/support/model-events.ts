/** What tests of language models say again and again: requests, collected streams, expected failures. */

import type { Passage } from "../../backend/knowledge/passage-retriever.ts";
import type { ModelEvent, ModelRequest } from "../../backend/llm/language-model.ts";
import { ParleyError } from "../../core/errors/parley-error.ts";

/** A request that asks `question`. */
export function modelRequest(question: string, fields: Partial<ModelRequest> = {}): ModelRequest {
  return {
    messages: [{ role: "user", text: question }],
    parameters: {},
    question,
    passages: [],
    presetReply: "Please try again later.",
    ...fields,
  };
}

/** A passage of a document. */
export function passage(fields: Partial<Passage> = {}): Passage {
  return {
    text: "A passage.",
    documentId: "docs/a.md",
    title: "A",
    headings: [],
    start: 0,
    end: 10,
    score: 1,
    ...fields,
  };
}

/** Everything a stream gives until its end. */
export async function collect<T>(stream: AsyncIterable<T>): Promise<T[]> {
  const events: T[] = [];
  for await (const event of stream) events.push(event);
  return events;
}

/** The text of a stream's events. */
export function textOf(events: readonly { type: string; text?: string }[]): string {
  return events.map((event) => (event.type === "text-delta" ? event.text : "")).join("");
}

/** The error with which a stream ends, and the events before it. Throws when it ends well. */
export async function failureOf(
  stream: AsyncIterable<ModelEvent>,
): Promise<{ events: ModelEvent[]; error: unknown }> {
  const events: ModelEvent[] = [];
  try {
    for await (const event of stream) events.push(event);
  } catch (error) {
    return { events, error };
  }
  throw new Error(`expected a failure, got ${JSON.stringify(events.slice(-3))}`);
}

/** What a model failure decides: its reason, and whether it may be tried again. */
export function verdictOf(error: unknown): { reason: string | undefined; retryable: boolean } | unknown {
  return error instanceof ParleyError ? { reason: error.reason, retryable: error.retryable } : error;
}

/** A signal that nobody aborts. */
export function neverAborted(): AbortSignal {
  return new AbortController().signal;
}
