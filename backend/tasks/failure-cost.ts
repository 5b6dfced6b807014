/** What a task has cost that ended without an answer: its caller is charged that, and its last event says it. */
import type { JsonObject } from "@bufbuild/protobuf";
import { tokensOfMessage, tokensOfText } from "../../core/limits/estimate-tokens.ts";
import type { A2AMessage } from "../../proto/gen/parley/v1/agent_service_pb.js";
import type { ModelAttempt } from "../llm/answer-event.ts";

/** A task that has no answer. */
export interface FailedTask {
  readonly message: A2AMessage;
  /** Those that have ended. */
  readonly attempts: readonly ModelAttempt[];
  /** The text of an attempt that was stopped; empty when none had begun to answer. */
  readonly cutText: string;
}

/** Tokens in and out, as metadata `usage`: what the models said, and an estimate of what was cut off. */
export function failureCost({ message, attempts, cutText }: FailedTask): JsonObject {
  const estimate =
    cutText === ""
      ? { inputTokens: 0, outputTokens: 0 }
      : { inputTokens: tokensOfMessage(message), outputTokens: tokensOfText(cutText) };
  const usages = [estimate, ...attempts.flatMap(({ usage }) => usage ?? [])];
  return {
    inputTokens: usages.reduce((sum, { inputTokens }) => sum + inputTokens, 0),
    outputTokens: usages.reduce((sum, { outputTokens }) => sum + outputTokens, 0),
  };
}
