/**
 * Conversations that survive the store they are kept in: the log is the truth, the store is quick. A conversation is
 * read from the store alone only when nothing speaks against it; otherwise it is compared with the log first:
 *
 * - missing: the store lost it, or never had it; it is made again from the log, even if that is empty;
 * - suspect: a turn was opened and did not append, so an exchange may be missing;
 * - unchecked: this process has not compared it since its connection to the store was made (the store may have come
 *   back with an older state), or an append of its own failed.
 *
 * What this process has appended lately it also remembers itself: the log may still be writing it.
 */
import { abortable } from "../../core/directory/abortable.ts";
import { LruMap } from "../../core/directory/lru-map.ts";
import type { TokenCounter } from "../llm/token-counter.ts";
import {
  CONVERSATION_LIMITS,
  type Compaction,
  type Conversation,
  type ConversationExchange,
  type ConversationKey,
  type ConversationLog,
  type ConversationMemory,
  type ConversationStore,
  type ConversationTurn,
  type SpokenExchange,
  type StoredConversation,
  type TurnKey,
} from "./conversation-memory.ts";
import { mergeExchanges } from "./merge-exchanges.ts";

/** Longest wait for the store on a turn's way; a healthy one takes a millisecond. */
const STORE_WAIT_MS_MAX = 200;
/** Longest wait for the log, once for a conversation that has to be compared. */
const LOG_WAIT_MS_MAX = 2_000;
/** Contexts known to be good; one that falls out is compared once more. */
const CHECKED_MAX = 20_000;
/** Contexts whose copy in the store is known to be short; one that falls out is found out by the next turn. */
const SHORT_MAX = 10_000;
/** Own exchanges remembered: contexts, and exchanges of each. The log is seconds behind, not more. */
const RECENT_CONTEXTS_MAX = 1_000;
const RECENT_EXCHANGES_MAX = 4;

/** What it works with. */
export interface DurableConversationMemoryOptions {
  readonly store: ConversationStore;
  readonly log: ConversationLog;
  readonly counter: TokenCounter;
  /** Which connection to the store this is, counted from 1; a new one may show an older state. Default always 1. */
  readonly connectionNumber?: () => number;
  /** Told of every call of the store or the log that failed. */
  readonly onFailure: (failure: { readonly operation: string; readonly error: unknown }) => void;
}

/** What the store said, if it said anything. */
type Asked<T> = { readonly answered: true; readonly value: T } | { readonly answered: false };

/** See above. */
export class DurableConversationMemory implements ConversationMemory {
  readonly #options: DurableConversationMemoryOptions;
  /** The number of the connection on which a context was found good. */
  readonly #checked = new LruMap<number>(CHECKED_MAX);
  readonly #recent = new LruMap<readonly ConversationExchange[]>(RECENT_CONTEXTS_MAX);
  readonly #short = new Map<string, ConversationKey>();
  readonly #reading = new Map<string, Promise<readonly SpokenExchange[] | undefined>>();

  constructor(options: DurableConversationMemoryOptions) {
    this.#options = options;
  }

  async load(turn: TurnKey, signal: AbortSignal): Promise<Conversation> {
    if (turn.isNewContext) return { exchanges: [] };
    const connection = this.#connectionNumber();
    const asked = await this.#ask("open", (store) => store.open(turn, turn.exchangeId));
    signal.throwIfAborted();
    if (!asked.answered) this.#checked.delete(textOf(turn));
    const kept = asked.answered ? asked.value : undefined;
    const isGood = kept && !kept.isSuspect && this.#checked.get(textOf(turn)) === connection;
    const conversation = isGood ? kept : await this.#compare(turn, asked, connection, signal);
    return without(conversation, turn.exchangeId);
  }

  async append(turn: TurnKey, spoken: SpokenExchange): Promise<number | undefined> {
    const connection = this.#connectionNumber();
    const [exchange] = await this.#count([spoken]);
    if (!exchange) return undefined;
    const recent = [...(this.#recent.get(textOf(turn)) ?? []), exchange].slice(-RECENT_EXCHANGES_MAX);
    this.#recent.set(textOf(turn), recent);
    const create = turn.isNewContext;
    const asked = await this.#ask("append", (store) => store.append(turn, exchange, { create }));
    if (!asked.answered) {
      this.#noteShort(turn);
      return undefined;
    }
    if (create) this.#checked.set(textOf(turn), connection);
    return asked.value.status === "missing" ? undefined : asked.value.tokens;
  }

  async read(key: ConversationKey): Promise<StoredConversation | undefined> {
    const asked = await this.#ask("read", (store) => store.read(key));
    return asked.answered ? asked.value : undefined;
  }

  async compact(key: ConversationKey, compaction: Compaction): Promise<boolean> {
    const asked = await this.#ask("compact", (store) => store.compact(key, compaction));
    return asked.answered && asked.value;
  }

  /**
   * To be called when the store can be reached again: what it has of contexts that missed an append is dropped, so
   * that other processes do not take it for whole.
   */
  async forgetShort(): Promise<void> {
    for (const [text, key] of [...this.#short]) {
      const asked = await this.#ask("forget", (store) => store.forget(key));
      if (!asked.answered) return;
      this.#short.delete(text);
    }
  }

  async #compare(
    turn: TurnKey,
    asked: Asked<StoredConversation | undefined>,
    connection: number,
    signal: AbortSignal,
  ): Promise<Conversation> {
    const kept = asked.answered ? asked.value : undefined;
    const logged = await abortable(this.#readLog(turn), signal);
    const others = [...(logged ?? []), ...(this.#recent.get(textOf(turn)) ?? [])];
    const merged = mergeExchanges(kept?.exchanges ?? [], others);
    const conversation = { summary: kept?.summary, exchanges: await this.#count(merged) };
    signal.throwIfAborted();
    if (!logged) return { ...conversation, isIncomplete: !kept || kept.isSuspect };
    const isWhole = kept !== undefined && merged === kept.exchanges;
    if (isWhole || (asked.answered && (await this.#replace(turn, conversation, kept?.revision)))) {
      this.#checked.set(textOf(turn), connection);
      this.#short.delete(textOf(turn));
    }
    return conversation;
  }

  async #replace(turn: TurnKey, conversation: Conversation, revision: string | undefined): Promise<boolean> {
    const { exchangeId } = turn;
    const asked = await this.#ask("replace", (store) =>
      store.replace(turn, { conversation, revision, exchangeId }),
    );
    return asked.answered && asked.value;
  }

  /** Once for all who wait; undefined when the log cannot be asked. */
  #readLog(key: ConversationKey): Promise<readonly SpokenExchange[] | undefined> {
    const text = textOf(key);
    const known = this.#reading.get(text);
    if (known) return known;
    const { log, onFailure } = this.#options;
    const limit = AbortSignal.timeout(LOG_WAIT_MS_MAX);
    const reading = abortable(log.newest(key, limit), limit)
      .catch((error) => {
        onFailure({ operation: "log", error });
        return undefined;
      })
      .finally(() => this.#reading.delete(text));
    this.#reading.set(text, reading);
    return reading;
  }

  /** The exchanges with their tokens; those that have them are taken as they are. */
  async #count(
    exchanges: readonly (ConversationExchange | SpokenExchange)[],
  ): Promise<ConversationExchange[]> {
    const counted: ConversationExchange[] = [];
    for (const { id, atMs, turns: said } of exchanges) {
      const turns: ConversationTurn[] = [];
      for (const turn of said) {
        const text = turn.text.slice(0, CONVERSATION_LIMITS.turnCharactersMax);
        const tokens = "tokens" in turn ? turn.tokens : await this.#options.counter.count(text);
        turns.push({ role: turn.role, text, tokens });
      }
      counted.push({ id, atMs, turns });
    }
    return counted;
  }

  async #ask<T>(operation: string, call: (store: ConversationStore) => Promise<T>): Promise<Asked<T>> {
    try {
      const limit = AbortSignal.timeout(STORE_WAIT_MS_MAX);
      return { answered: true, value: await abortable(call(this.#options.store), limit) };
    } catch (error) {
      this.#options.onFailure({ operation, error });
      return { answered: false };
    }
  }

  #noteShort(key: ConversationKey): void {
    this.#checked.delete(textOf(key));
    if (this.#short.size < SHORT_MAX) {
      this.#short.set(textOf(key), { tenantId: key.tenantId, contextId: key.contextId });
    }
  }

  #connectionNumber(): number {
    return this.#options.connectionNumber?.() ?? 1;
  }
}

/** A turn that is run a second time, because its first backend died, must not see its own answer. */
function without(conversation: Conversation, exchangeId: string): Conversation {
  const { exchanges } = conversation;
  if (exchanges.every(({ id }) => id !== exchangeId)) return conversation;
  return { ...conversation, exchanges: exchanges.filter(({ id }) => id !== exchangeId) };
}

function textOf({ tenantId, contextId }: ConversationKey): string {
  return `${tenantId}\n${contextId}`;
}
