/** The port to whoever answers for an agent. */
import type { JsonObject } from "@bufbuild/protobuf";
import type { Agent } from "../../core/directory/agent.ts";
import type { Deadline } from "../../core/resilience/deadline.ts";
import type { Part } from "../../proto/gen/lf/a2a/v1/a2a_pb.js";
import type { A2AMessage, Content } from "../../proto/gen/parley/v1/agent_service_pb.js";
import type { ModelAttempt } from "../llm/answer-event.ts";
import type { ModelParameters } from "../llm/language-model.ts";
import type { ConversationSummary, ConversationTurn } from "../stores/conversation-memory.ts";

/** A turn to be answered. */
export interface AgentTurn {
  readonly agent: Agent;
  readonly content: Content;
  /** The message itself, and the subject of the caller that sent it; for agents that hand it on. */
  readonly sent?: { readonly message: A2AMessage; readonly subject: string } | undefined;
  /** What was said before in this context, oldest first. */
  readonly history: readonly EarlierTurn[];
  /** What was said before that. */
  readonly summary?: ConversationSummary | undefined;
  /** More may have been said than history and summary tell. */
  readonly isHistoryIncomplete?: boolean | undefined;
  /** The sender's own instructions, below those of the agent; empty when there are none. */
  readonly instructions: string;
  /** What the sender asks of the models; laid over the agent's own. */
  readonly parameters: ModelParameters;
  readonly deadline: Deadline;
  readonly requestId: string;
  /** To be told of every call of a model when it is over. */
  readonly onAttempt: (attempt: ModelAttempt) => void;
}

/** A turn of the conversation; one that the sender has told has not been counted yet. */
export type EarlierTurn = Omit<ConversationTurn, "tokens"> & { readonly tokens?: number };

/** What the durable log keeps of an answer beside its text. */
export interface AnswerRecord {
  model: string;
  degraded?: string;
  inputTokens?: number;
  outputTokens?: number;
  usageEstimated?: boolean;
  /** Given before, to the same question or to one that means nearly the same. For the process's own log. */
  cached?: "exact" | "semantic";
}

/** One event of an answer in the making. */
export type AgentEvent =
  | { type: "text-delta"; text: string }
  /** The text so far is void; it starts again. */
  | { type: "restart"; reason: string }
  /** The whole answer; last event. `metadata` goes out with the reply. */
  | { type: "finish"; parts: Part[]; metadata: JsonObject; record: AnswerRecord };

/**
 * Answers turns. A stream that ends without throwing has yielded exactly one `finish`, as its last event. It
 * throws ParleyError, or the signal's reason once `signal` has aborted.
 */
export interface AgentRunner {
  answer(turn: AgentTurn, signal: AbortSignal): AsyncIterable<AgentEvent>;
}
