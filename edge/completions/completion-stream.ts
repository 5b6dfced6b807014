/**
 * An agent's events as the stream of a chat completion. OpenAI's stream cannot take back what it has sent, so it tells
 * the truth in another way: the events of its end (`finish_reason`, `[DONE]`) come only when what was sent is the whole
 * answer. Anything else throws, and the stream ends with an error in it.
 *
 * - as it comes: pieces go out as the model makes them. A `restart` before the first piece is not seen; one after it
 *   cannot be mended.
 * - held back: nothing goes out until the answer is whole, then all of it does; restarts are never seen.
 */
import type { JsonObject } from "@bufbuild/protobuf";
import { ParleyError } from "../../core/errors/parley-error.ts";
import { errorOfBody } from "../../core/messages/error-body.ts";
import type { A2AMessage } from "../../proto/gen/parley/v1/agent_service_pb.js";
import {
  type CompletionHead,
  chunkOf,
  completionHead,
  completionUsage,
  extensionOf,
  finishReason,
  replyText,
} from "./completion-object.ts";

/** A held-back answer goes out in pieces of about a line, as clients that show progress expect. */
const PIECE_PATTERN = /[\s\S]{1,80}(?:\s|$)|[\s\S]{1,80}/gu;

/** Why a stream ended that has sent what cannot be taken back. */
export const STREAM_RESTARTED = "stream-restarted";

/** How a completion is streamed. */
export interface CompletionStreamOptions {
  events: AsyncIterable<A2AMessage>;
  agentId: string;
  /** Asked at each event: that an answer was there before is known when it begins to come. */
  holdBack: () => boolean;
  /** Whether the client asked for usage: a last chunk has it, and the others say that they do not. */
  includeUsage: boolean;
}

/** Yields server-sent events; the first one is the beginning of the answer. @throws ParleyError, see above */
export async function* completionStream(options: CompletionStreamOptions): AsyncGenerator<string> {
  const { events, agentId, holdBack, includeUsage } = options;
  const write = (chunk: JsonObject) => dataEvent(includeUsage ? { ...chunk, usage: null } : chunk);
  let sent = "";
  for await (const event of events) {
    const head = completionHead(event, agentId);
    const say = (text: string) => {
      const isFirst = sent === "";
      sent += text;
      return (isFirst ? write(beginning(head)) : "") + write(chunkOf(head, { content: text }, null));
    };
    const { body } = event;
    if (body.case === "delta" && !holdBack() && body.value !== "") yield say(body.value);
    if (body.case === "restart" && sent !== "") throw restarted();
    if (body.case === "error") throw errorOfBody(body.value);
    if (body.case === "status") throw new ParleyError("canceled", "the task was stopped");
    if (body.case !== "content") continue;
    for (const piece of piecesOf(rest(replyText(event), sent))) yield say(piece);
    if (sent === "") yield write(beginning(head));
    yield write({ ...chunkOf(head, {}, finishReason(event)), parley: extensionOf(event) });
    if (includeUsage) yield dataEvent(usageChunk(head, event));
    yield "data: [DONE]\n\n";
    return;
  }
}

/** One event of the stream. */
export function dataEvent(data: JsonObject): string {
  return `data: ${JSON.stringify(data)}\n\n`;
}

function beginning(head: CompletionHead): JsonObject {
  return chunkOf(head, { role: "assistant", content: "", refusal: null }, null);
}

function usageChunk(head: CompletionHead, reply: A2AMessage): JsonObject {
  return { ...head, object: "chat.completion.chunk", choices: [], usage: completionUsage(reply) };
}

/** What of the answer has not gone out; an answer that is another one than what has is treated as a restart. */
function rest(text: string, sent: string): string {
  if (text.startsWith(sent)) return text.slice(sent.length);
  if (text.trim() === sent.trim()) return "";
  throw restarted();
}

function piecesOf(text: string): readonly string[] {
  return text.match(PIECE_PATTERN) ?? [];
}

function restarted(): ParleyError {
  return new ParleyError(
    "unavailable",
    "the model failed in the middle of its answer; what came is not the answer, ask again",
    { reason: STREAM_RESTARTED, retryable: true },
  );
}
