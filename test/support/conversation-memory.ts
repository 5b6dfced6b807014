/** A memory of conversations for tests of what stands above it: in this process, over a log that has nothing. */
import type {
  ConversationLog,
  ConversationMemory,
  ConversationStore,
} from "../../backend/stores/conversation-memory.ts";
import { DurableConversationMemory } from "../../backend/stores/durable-conversation-memory.ts";
import { MemoryConversationStore } from "../../backend/stores/memory-conversation-store.ts";

/** A word is a token here. */
export const wordCounter = { count: async (text: string) => text.split(/\s+/).filter(Boolean).length };

/** Makes it; what fails is an error of the test. */
export function createConversationMemory(
  store: ConversationStore = new MemoryConversationStore(),
  log: ConversationLog = { newest: async () => [] },
): ConversationMemory {
  return new DurableConversationMemory({
    store,
    log,
    counter: wordCounter,
    onFailure: ({ error }) => {
      throw error;
    },
  });
}
