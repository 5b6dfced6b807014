/** Conversations in this process: bounded, least recently used out first, gone with the process. */
import type { ConversationKey, ConversationMemory, ConversationTurn } from "./conversation-memory.ts";

/** Conversations kept; at most some 64 KiB each, so at most some 64 MiB in all. */
const CONVERSATIONS_MAX = 1_000;
const TURNS_MAX = 100;
/** Newest text kept per conversation, UTF-16 code units; more than most local models can take in. */
const TEXT_CHARACTERS_MAX = 32_000;
/** Of one turn: a question and its answer always fit together. */
const TURN_CHARACTERS_MAX = TEXT_CHARACTERS_MAX / 2;

/** Makes an empty memory. */
export function createMemoryConversationMemory(): ConversationMemory {
  const conversations = new Map<string, ConversationTurn[]>();
  return {
    async load(key) {
      return conversations.get(keyText(key)) ?? [];
    },
    async append(key, turns) {
      const text = keyText(key);
      const kept = newest([...(conversations.get(text) ?? []), ...turns]);
      conversations.delete(text);
      conversations.set(text, kept);
      if (conversations.size > CONVERSATIONS_MAX) {
        const oldest = conversations.keys().next();
        if (!oldest.done) conversations.delete(oldest.value);
      }
    },
  };
}

/**
 * The newest turns within the limits, a longer one cut to them; begins with a user's turn, so that no answer stands
 * without its question.
 */
function newest(turns: readonly ConversationTurn[]): ConversationTurn[] {
  const kept: ConversationTurn[] = [];
  let characters = 0;
  for (const { role, text } of turns.slice(-TURNS_MAX).reverse()) {
    const part = text.slice(0, TURN_CHARACTERS_MAX);
    characters += part.length;
    if (characters > TEXT_CHARACTERS_MAX) break;
    kept.unshift({ role, text: part });
  }
  const start = kept.findIndex(({ role }) => role === "user");
  return start < 0 ? [] : kept.slice(start);
}

function keyText({ tenantId, contextId }: ConversationKey): string {
  return `${tenantId}\n${contextId}`;
}
