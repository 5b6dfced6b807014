/** The port to what was said before in a context. */

/** One side of an earlier turn. */
export interface ConversationTurn {
  role: "user" | "assistant";
  text: string;
}

/** Identifies a conversation; contexts of different tenants never meet. */
export interface ConversationKey {
  tenantId: string;
  contextId: string;
}

/** Remembers conversations. `load` gives the newest turns that are kept, oldest of them first. */
export interface ConversationMemory {
  load(key: ConversationKey, signal: AbortSignal): Promise<readonly ConversationTurn[]>;
  append(key: ConversationKey, turns: readonly ConversationTurn[]): Promise<void>;
}
