/** OpenAI's objects, `chat.completion` and `chat.completion.chunk`, made of an agent's reply. */
import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { textOf } from "../../core/messages/envelope.ts";
import type { A2AMessage } from "../../proto/gen/parley/v1/agent_service_pb.js";

/** What every chunk of a stream, and the completion, says of itself. */
export interface CompletionHead {
  id: string;
  /** Unix epoch, seconds. */
  created: number;
  /** The agent; the model that it used is in the extension field `parley`. */
  model: string;
}

const FINISH_REASONS: Readonly<Record<string, string>> = {
  stop: "stop",
  length: "length",
  "tool-calls": "tool_calls",
  "content-filter": "content_filter",
};

/** By any event of the task. */
export function completionHead({ taskId, createdAt }: A2AMessage, agentId: string): CompletionHead {
  const created = createdAt ? Math.floor(timestampMs(createdAt) / 1000) : 0;
  return { id: `chatcmpl-${taskId}`, created, model: agentId };
}

/** The whole answer in one object. */
export function completionOf(reply: A2AMessage, agentId: string): JsonObject {
  const message = { role: "assistant", content: replyText(reply), refusal: null };
  return {
    ...completionHead(reply, agentId),
    object: "chat.completion",
    choices: [{ index: 0, message, logprobs: null, finish_reason: finishReason(reply) }],
    usage: completionUsage(reply),
    parley: extensionOf(reply),
  };
}

/** A piece of a streamed answer; `finish` is null until the last one. */
export function chunkOf(head: CompletionHead, delta: JsonObject, finish: string | null): JsonObject {
  return {
    ...head,
    object: "chat.completion.chunk",
    choices: [{ index: 0, delta, logprobs: null, finish_reason: finish }],
  };
}

/** The text of the reply's content. */
export function replyText({ body }: A2AMessage): string {
  return body.case === "content" ? textOf(body.value) : "";
}

/** Why the answer ended, in OpenAI's words. */
export function finishReason({ metadata }: A2AMessage): string {
  return FINISH_REASONS[String(metadata?.["finishReason"])] ?? "stop";
}

/** Tokens in and out; zero where no model was asked. */
export function completionUsage({ metadata }: A2AMessage): JsonObject {
  const usage = metadata?.["usage"];
  const counts = isObject(usage) ? usage : {};
  const [prompt, completion] = [countOf(counts["inputTokens"]), countOf(counts["outputTokens"])];
  return { prompt_tokens: prompt, completion_tokens: completion, total_tokens: prompt + completion };
}

/** What OpenAI's objects have no field for: the task, and the reply's metadata, such as the model that answered. */
export function extensionOf({ taskId, metadata }: A2AMessage): JsonObject {
  const { usage, finishReason: _, ...others } = metadata ?? {};
  const isEstimated = isObject(usage) && usage["estimated"] === true;
  return { ...others, taskId, ...(isEstimated && { usageEstimated: true }) };
}

function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function countOf(value: JsonValue | undefined): number {
  return typeof value === "number" && Number.isFinite(value) && value > 0 ? Math.ceil(value) : 0;
}
