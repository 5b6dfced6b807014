/** Calls of models as the durable log keeps them: those of a reply, and those that no message belongs to. */
import type { LogAttempt, LogEntry } from "../../core/log/message-log.ts";
import type { ModelAttempt } from "../llm/answer-event.ts";

/** The calls that one summary of a conversation took. */
export interface SummaryCalls {
  readonly tenantId: string;
  readonly contextId: string;
  readonly agentId: string;
  /** Of the turn after which it was made; empty for a caller without one. */
  readonly keyId: string;
  readonly attempts: readonly ModelAttempt[];
}

/** One call, without what only the process that made it needs to know. */
export function toLogAttempt({ model, outcome, durationMs, firstTokenMs, usage }: ModelAttempt): LogAttempt {
  return {
    model,
    outcome,
    durationMs,
    ...(firstTokenMs === undefined ? {} : { firstTokenMs }),
    ...(usage
      ? {
          inputTokens: usage.inputTokens,
          outputTokens: usage.outputTokens,
          usageEstimated: usage.estimated ?? false,
        }
      : {}),
  };
}

/** The entry under which they are kept. */
export function summaryEntry(calls: SummaryCalls, nowMs: number): LogEntry {
  const { tenantId, contextId, agentId, keyId, attempts } = calls;
  const id = crypto.randomUUID();
  return {
    ...{ tenantId, contextId, messageId: id, taskId: id, senderId: agentId, receiverId: agentId },
    role: "summary",
    content: null,
    ...(keyId === "" ? {} : { keyId }),
    attempts: attempts.map(toLogAttempt),
    createdAtMs: nowMs,
  };
}
