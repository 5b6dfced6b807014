/**
 * Models behind OpenAI's Chat Completions API and its many compatible servers (Chat Completions, not
 * Responses: it is what all of them speak). Owns one connection per answer; decides nothing about new tries.
 */
import type OpenAI from "openai";
import { definedOnly } from "./defined-only.ts";
import { drainBody } from "./drain-body.ts";
import type { LanguageModel, ModelEvent, ModelRequest } from "./language-model.ts";
import { linkAbort } from "./linked-abort.ts";
import { OpenaiAnswer } from "./openai-answer.ts";
import { isOpenaiOwn, type OpenaiClientSource } from "./openai-client.ts";
import { openaiFailure } from "./openai-failure.ts";
import { readServerSentEvents } from "./server-sent-events.ts";

/**
 * How long an answer that has its finish reason waits for the rest of the stream: the usage comes after it, but
 * some servers send neither usage nor `[DONE]`, and some do not end their stream. Well below the usual limit on
 * silence, which runs meanwhile.
 */
const END_WAIT_MS = 1_000;

/** Which model, where. */
export interface OpenaiLanguageModelOptions {
  /** First half of the model's id, e.g. `openai`. */
  readonly providerId: string;
  /** The model's name at the provider. */
  readonly model: string;
  readonly client: OpenaiClientSource;
  /** `host:port` of the server, by which its health is kept. */
  readonly host?: string | undefined;
  /** Default {@link END_WAIT_MS}. */
  readonly endWaitMs?: number;
}

/** One model of an OpenAI-compatible server. */
export class OpenaiLanguageModel implements LanguageModel {
  readonly id: string;
  readonly host: string | undefined;
  readonly #model: string;
  readonly #client: OpenaiClientSource;
  readonly #endWaitMs: number;

  constructor({ providerId, model, client, host, endWaitMs = END_WAIT_MS }: OpenaiLanguageModelOptions) {
    this.id = `${providerId}/${model}`;
    this.host = host;
    this.#model = model;
    this.#client = client;
    this.#endWaitMs = endWaitMs;
  }

  async *stream(request: ModelRequest, signal: AbortSignal): AsyncGenerator<ModelEvent> {
    signal.throwIfAborted();
    const { controller: connection, unlink } = linkAbort(signal);
    const state: { answering: boolean; secret?: string } = { answering: false };
    let close = () => connection.abort();
    try {
      const client = await this.#client();
      if (client.apiKey) state.secret = client.apiKey;
      const body = chatRequest(this.#model, request, client.baseURL);
      // The raw response: see server-sent-events.ts for what is wrong with the SDK's stream.
      const response = await client.chat.completions.create(body, { signal: connection.signal }).asResponse();
      state.answering = true;
      const reader = (response.body ?? new Blob([]).stream()).getReader();
      const answer = new OpenaiAnswer(state.secret);
      yield* this.#read(answer, reader, signal);
      const lastEvents = answer.end();
      // The answer is whole: from here on an abort must not cost the pool its connection.
      unlink();
      close = () => drainBody(reader);
      yield* lastEvents;
    } catch (error) {
      signal.throwIfAborted();
      throw openaiFailure(error, state);
    } finally {
      unlink();
      close();
    }
  }

  /** The text of the answer as it comes; returns when nothing more is to come, or nothing more is waited for. */
  async *#read(
    answer: OpenaiAnswer,
    reader: ReadableStreamDefaultReader<Uint8Array>,
    signal: AbortSignal,
  ): AsyncGenerator<ModelEvent> {
    const giveUp = () => void reader.cancel().catch(() => {});
    let endWait: NodeJS.Timeout | undefined;
    try {
      for await (const events of readServerSentEvents(reader)) {
        // What came in one piece goes on in one piece: a burst of tokens is not worth an event each.
        let text = "";
        let done = false;
        for (const { event, data } of events) {
          done = data === "[DONE]";
          if (done) break;
          text += answer.accept(event, data);
          done = answer.complete;
          if (done) break;
        }
        if (text) yield { type: "text-delta", text };
        signal.throwIfAborted();
        if (done) return;
        if (answer.finished) endWait ??= setTimeout(giveUp, this.#endWaitMs);
      }
    } catch (error) {
      if (!answer.finished || signal.aborted) throw error;
    } finally {
      clearTimeout(endWait);
    }
  }
}

/**
 * The body of the request. The output limit is `max_completion_tokens` at OpenAI, whose reasoning models refuse
 * the older `max_tokens`, and `max_tokens` elsewhere: every compatible server knows it, and some ignore the
 * newer name in silence.
 */
function chatRequest(
  model: string,
  { messages, parameters }: ModelRequest,
  baseUrl: string,
): OpenAI.ChatCompletionCreateParamsStreaming {
  const { temperature, topP, outputTokensMax, seed, stop } = parameters;
  return {
    model,
    messages: messages.map(({ role, text }) => ({ role, content: text })),
    stream: true,
    stream_options: { include_usage: true },
    ...definedOnly({
      temperature,
      top_p: topP,
      seed,
      stop: stop && [...stop],
      [isOpenaiOwn(baseUrl) ? "max_completion_tokens" : "max_tokens"]: outputTokensMax,
    }),
  };
}
