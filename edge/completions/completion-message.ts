/**
 * A completion request as a message to an agent: the last message of the user is the question, what stands before it is
 * the history that the turn brings, and system messages are instructions below the agent's own prompt.
 */
import { create } from "@bufbuild/protobuf";
import { textContent } from "../../core/messages/envelope.ts";
import { Role } from "../../proto/gen/lf/a2a/v1/a2a_pb.js";
import {
  type A2AMessage,
  A2AMessageSchema,
  HistorySchema,
  type Parameters,
  ParametersSchema,
  TurnSchema,
} from "../../proto/gen/parley/v1/agent_service_pb.js";
import { badParameter, type CompletionMessage, type CompletionRequest } from "./completion-request.ts";

/** OpenAI takes 0 for `top_p`, which keeps the likeliest word only; many other servers want more than that. */
const TOP_P_MIN = 1e-6;

/**
 * @param messageId the caller's own name for the request; empty when it gives none
 * @throws ParleyError `invalid_argument` when the conversation does not end with the user
 */
export function messageOf(request: CompletionRequest, messageId: string): A2AMessage {
  const isInstruction = ({ role }: CompletionMessage) => role === "system" || role === "developer";
  const spoken = request.messages.filter((message) => !isInstruction(message));
  const question = spoken.pop();
  if (question?.role !== "user") {
    throw badParameter(
      "messages",
      "must end with a message of the user; an agent does not go on with its own",
    );
  }
  return create(A2AMessageSchema, {
    messageId,
    receiverId: request.model,
    body: { case: "content", value: textContent(textOf(question)) },
    history: create(HistorySchema, {
      instructions: request.messages.filter(isInstruction).map(textOf).filter(Boolean).join("\n\n"),
      turns: spoken.flatMap((message) => {
        const text = textOf(message);
        const role = message.role === "assistant" ? Role.AGENT : Role.USER;
        // Chat programs leave empty answers behind when they were stopped; models refuse them.
        return text === "" ? [] : [create(TurnSchema, { role, text })];
      }),
    }),
    parameters: parametersOf(request),
  });
}

function parametersOf(request: CompletionRequest): Parameters {
  const { temperature, top_p: topP, seed, stop } = request;
  const outputTokensMax = request.max_completion_tokens ?? request.max_tokens;
  return create(ParametersSchema, {
    ...(temperature != null && { temperature }),
    ...(topP != null && { topP: Math.max(topP, TOP_P_MIN) }),
    ...(outputTokensMax != null && { outputTokensMax }),
    ...(seed != null && { seed: BigInt(seed) }),
    stop: typeof stop === "string" ? [stop] : (stop ?? []),
  });
}

function textOf({ content }: CompletionMessage): string {
  return typeof content === "string" ? content : content.map(({ text }) => text).join("\n");
}
