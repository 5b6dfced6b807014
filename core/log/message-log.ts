/** The port to the durable log: every message and every reply, appended once and never changed. */
import type { JsonValue } from "../errors/parley-error.ts";

/** One call of a model, as the log keeps it. */
export interface LogAttempt {
  /** `<provider>/<model>`. */
  readonly model: string;
  /** `answered`, or the reason why it failed. */
  readonly outcome: string;
  readonly durationMs: number;
  /** From the call to the first piece of text; missing when none came. */
  readonly firstTokenMs?: number;
  readonly inputTokens?: number;
  readonly outputTokens?: number;
  readonly usageEstimated?: boolean;
}

/** A message or a reply, as the log keeps it. */
export interface LogEntry {
  readonly tenantId: string;
  /** Unique together with tenant, sender and task: an entry appended again is the same entry. */
  readonly messageId: string;
  readonly taskId: string;
  readonly contextId: string;
  readonly senderId: string;
  readonly receiverId: string;
  /** The message that this one answers. */
  readonly inReplyTo?: string;
  /** `summary`: there is no message; only the attempts, which a summary of the conversation took, are kept. */
  readonly role: "user" | "agent" | "summary";
  /** The parts, as ProtoJSON. */
  readonly content: JsonValue;
  /** What else belonged to the message, as ProtoJSON. */
  readonly metadata?: { readonly [key: string]: JsonValue };
  /** Who made the reply: `<provider>/<model>`. */
  readonly model?: string;
  /** Why the reply is less than it should be, e.g. `preset-reply`. */
  readonly degraded?: string;
  readonly inputTokens?: number;
  readonly outputTokens?: number;
  /** Whether the token counts are estimates, not the provider's. */
  readonly usageEstimated?: boolean;
  /** From the acceptance of the message to the end of the reply. */
  readonly durationMs?: number;
  readonly requestId?: string;
  /** The code of the error that the task ended with. */
  readonly errorCode?: string;
  /** The API key that the message came with. */
  readonly keyId?: string;
  /** The version of the agent's configuration that answered. */
  readonly agentVersion?: number;
  /** The sender brought its own history: the turn is not part of what was said in its context. */
  readonly ownHistory?: boolean;
  /** What it takes to go on with the task, or to tell of its end, in another process; not for readers of the log. */
  readonly recovery?: { readonly [key: string]: JsonValue };
  /** With a reply or a summary: all calls of models that it took, in order; written with it, all or none. */
  readonly attempts?: readonly LogAttempt[];
  /** Unix epoch, milliseconds. */
  readonly createdAtMs: number;
}

/**
 * How the log keeps up. `ready`: entries become durable in milliseconds. `behind`: the database fails or stalls,
 * entries wait in the queue and nobody should wait for them.
 */
export type LogState = "ready" | "behind";

/** Appends to the log. */
export interface MessageLog {
  /** How the log keeps up at this moment; costs nothing to ask. */
  state(): LogState;

  /**
   * Whether new messages of a tenant may be taken. False while so much of it waits that what room it has left is
   * for its turns under way; what waits of other tenants leaves it room of its own.
   */
  hasRoom(tenantId: string): boolean;

  /**
   * Resolves when the entry is durable; appending the same entry again changes nothing. Entries appended by one
   * caller one after another keep their order. Rejects with ParleyError `resource_exhausted` when too much of the
   * tenant waits to be written, `unavailable` when the log is closed or closes before the entry is written, `internal` when
   * the database refuses this very entry.
   *
   * @param signal ends the wait; the entry is written all the same
   */
  append(entry: LogEntry, signal?: AbortSignal): Promise<void>;
}
