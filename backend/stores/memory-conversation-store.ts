/** Conversations in this process: bounded, least recently used out first, gone with the process. */
import {
  type AppendOutcome,
  CONVERSATION_LIMITS,
  type Compaction,
  type Conversation,
  type ConversationExchange,
  type ConversationKey,
  type ConversationStore,
  charactersOf,
  type Replacement,
  type StoredConversation,
  tokensOf,
} from "./conversation-memory.ts";

/** Conversations kept at most, and all their characters together: some 64 MiB. The log has the others. */
const CONVERSATIONS_MAX = 5_000;
const CHARACTERS_MAX = 32 * 1024 * 1024;

/** Exchanges of a context that are recognised when they come again, also those no longer kept. */
const IDS_MAX = 1_000;

interface Kept extends Conversation {
  readonly revision: string;
  readonly pending: string | undefined;
  /** Oldest first. */
  readonly ids: Set<string>;
  readonly exchanges: readonly ConversationExchange[];
}

/** What the store is made with; all of it has defaults. */
export interface MemoryConversationStoreOptions {
  readonly conversationsMax?: number;
  readonly charactersMax?: number;
}

/** See above. */
export class MemoryConversationStore implements ConversationStore {
  /** By use, the least recent first. */
  readonly #kept = new Map<string, Kept>();
  readonly #conversationsMax: number;
  readonly #charactersMax: number;
  #characters = 0;

  constructor(options: MemoryConversationStoreOptions = {}) {
    this.#conversationsMax = options.conversationsMax ?? CONVERSATIONS_MAX;
    this.#charactersMax = options.charactersMax ?? CHARACTERS_MAX;
  }

  async open(key: ConversationKey, exchangeId: string): Promise<StoredConversation | undefined> {
    const kept = this.#kept.get(textOf(key));
    if (!kept) return undefined;
    this.#put(key, { ...kept, pending: exchangeId });
    return stored(kept);
  }

  async read(key: ConversationKey): Promise<StoredConversation | undefined> {
    const kept = this.#kept.get(textOf(key));
    return kept && stored(kept);
  }

  async append(
    key: ConversationKey,
    exchange: ConversationExchange,
    { create }: { readonly create: boolean },
  ): Promise<AppendOutcome> {
    const kept = this.#kept.get(textOf(key)) ?? (create ? empty() : undefined);
    if (!kept) return { status: "missing", tokens: 0 };
    const isKnown = kept.ids.has(exchange.id);
    remember(kept.ids, exchange.id);
    const exchanges = isKnown ? kept.exchanges : newest([...kept.exchanges, exchange]);
    const pending = kept.pending === exchange.id ? undefined : kept.pending;
    this.#put(key, { ...kept, exchanges, pending });
    return { status: isKnown ? "known" : "appended", tokens: sumOf(exchanges, tokensOf) };
  }

  async replace(key: ConversationKey, { conversation, revision, exchangeId }: Replacement): Promise<boolean> {
    if (this.#kept.get(textOf(key))?.revision !== revision) return false;
    const { summary, exchanges } = conversation;
    const ids = new Set(exchanges.map(({ id }) => id));
    const fresh = { summary, exchanges: newest(exchanges), ids, pending: exchangeId };
    this.#put(key, { ...fresh, revision: crypto.randomUUID() });
    return true;
  }

  async compact(
    key: ConversationKey,
    { revision, throughExchangeId, summary }: Compaction,
  ): Promise<boolean> {
    const kept = this.#kept.get(textOf(key));
    if (kept?.revision !== revision) return false;
    const last = kept.exchanges.findIndex(({ id }) => id === throughExchangeId);
    const exchanges = kept.exchanges.slice(Math.min(last + 1, kept.exchanges.length - 1));
    this.#put(key, { ...kept, summary, exchanges, revision: crypto.randomUUID() });
    return true;
  }

  async forget(key: ConversationKey): Promise<void> {
    this.#drop(textOf(key));
  }

  #put(key: ConversationKey, kept: Kept): void {
    const text = textOf(key);
    this.#drop(text);
    this.#kept.set(text, kept);
    this.#characters += sizeOf(kept);
    for (const [oldest] of this.#kept) {
      const isOver = this.#kept.size > this.#conversationsMax || this.#characters > this.#charactersMax;
      if (!isOver || oldest === text) return;
      this.#drop(oldest);
    }
  }

  #drop(text: string): void {
    const kept = this.#kept.get(text);
    if (!kept) return;
    this.#characters -= sizeOf(kept);
    this.#kept.delete(text);
  }
}

function empty(): Kept {
  return { revision: crypto.randomUUID(), pending: undefined, ids: new Set(), exchanges: [] };
}

function remember(ids: Set<string>, id: string): void {
  ids.add(id);
  for (const oldest of ids) {
    if (ids.size <= IDS_MAX) return;
    ids.delete(oldest);
  }
}

/** The newest exchanges within the limits; always the last one. */
function newest(exchanges: readonly ConversationExchange[]): readonly ConversationExchange[] {
  const { exchangesMax, charactersMax } = CONVERSATION_LIMITS;
  let start = Math.max(0, exchanges.length - exchangesMax);
  let characters = sumOf(exchanges.slice(start), charactersOf);
  for (let oldest = exchanges[start]; oldest && characters > charactersMax; oldest = exchanges[start]) {
    if (start === exchanges.length - 1) break;
    characters -= charactersOf(oldest);
    start += 1;
  }
  return exchanges.slice(start);
}

function stored({ summary, exchanges, revision, pending }: Kept): StoredConversation {
  return { summary, exchanges, revision, isSuspect: pending !== undefined };
}

function sizeOf({ summary, exchanges }: Conversation): number {
  return (summary?.text.length ?? 0) + sumOf(exchanges, charactersOf);
}

function sumOf(
  exchanges: readonly ConversationExchange[],
  measure: (exchange: ConversationExchange) => number,
): number {
  return exchanges.reduce((sum, exchange) => sum + measure(exchange), 0);
}

function textOf({ tenantId, contextId }: ConversationKey): string {
  return `${tenantId}\n${contextId}`;
}
