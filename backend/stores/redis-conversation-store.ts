/**
 * Conversations in Redis: of each context a list, its ids and a hash, on one node of a cluster, read and changed by one
 * script at a time and forgotten together. What is lost here is made again from the log.
 */
import { ParleyError } from "../../core/errors/parley-error.ts";
import {
  type AppendOutcome,
  CONVERSATION_LIMITS,
  type Compaction,
  type ConversationExchange,
  type ConversationKey,
  type ConversationStore,
  charactersOf,
  type Replacement,
  type StoredConversation,
  tokensOf,
} from "./conversation-memory.ts";
import type { RedisArgument, RedisConnection } from "./redis-connection.ts";
import { APPEND, COMPACT, OPEN, REPLACE } from "./redis-conversation-scripts.ts";
import type { RedisScript } from "./redis-script.ts";

/** After the last turn; whoever comes back later has the conversation made again from the log. */
const TIME_TO_LIVE_MS = 24 * 3_600_000;
/** Exchanges that are recognised when they come again, also those no longer kept. */
const IDS_MAX = 1_000;

/** See above. */
export class RedisConversationStore implements ConversationStore {
  readonly #redis: RedisConnection;
  readonly #timeToLiveMs: number;

  /** @param timeToLiveMs default a day */
  constructor(redis: RedisConnection, timeToLiveMs = TIME_TO_LIVE_MS) {
    this.#redis = redis;
    this.#timeToLiveMs = timeToLiveMs;
  }

  open(key: ConversationKey, exchangeId: string): Promise<StoredConversation | undefined> {
    return this.#open(key, exchangeId);
  }

  read(key: ConversationKey): Promise<StoredConversation | undefined> {
    return this.#open(key, "");
  }

  async append(
    key: ConversationKey,
    exchange: ConversationExchange,
    { create }: { readonly create: boolean },
  ): Promise<AppendOutcome> {
    const reply = await this.#run(APPEND, key, [
      create ? 1 : 0,
      crypto.randomUUID(),
      ...LIMITS,
      exchange.id,
      elementOf(exchange),
    ]);
    const [status, tokens] = reply as [AppendOutcome["status"], number];
    return { status, tokens };
  }

  async replace(key: ConversationKey, { conversation, revision, exchangeId }: Replacement): Promise<boolean> {
    const { summary, exchanges } = conversation;
    const reply = await this.#run(REPLACE, key, [
      revision ?? "",
      crypto.randomUUID(),
      exchangeId,
      summary?.text ?? "",
      summary?.tokens ?? 0,
      ...LIMITS,
      ...exchanges.flatMap((exchange) => [exchange.id, elementOf(exchange)]),
    ]);
    return reply === 1;
  }

  async compact(
    key: ConversationKey,
    { revision, throughExchangeId, summary }: Compaction,
  ): Promise<boolean> {
    const args = [revision, crypto.randomUUID(), throughExchangeId, summary.text, summary.tokens];
    return (await this.#run(COMPACT, key, args)) === 1;
  }

  async forget(key: ConversationKey): Promise<void> {
    await this.#redis.run((redis) => redis.del(...keysOf(key)));
  }

  async #open(key: ConversationKey, exchangeId: string): Promise<StoredConversation | undefined> {
    const reply = (await this.#run(OPEN, key, [exchangeId])) as
      | [revision: string, pending: string, summary: string, summaryTokens: string, elements: string[]]
      | null;
    if (!reply) return undefined;
    const [revision, pending, text, tokens, elements] = reply;
    return {
      revision,
      isSuspect: pending !== "",
      summary: text === "" ? undefined : { text, tokens: Number(tokens) },
      exchanges: elements.map(exchangeOf),
    };
  }

  #run(script: RedisScript, key: ConversationKey, args: readonly RedisArgument[]): Promise<unknown> {
    return this.#redis.script(script, keysOf(key), [this.#timeToLiveMs, ...args]);
  }
}

const LIMITS = [CONVERSATION_LIMITS.exchangesMax, CONVERSATION_LIMITS.charactersMax, IDS_MAX];

/** The braces keep them on one node of a cluster; neither id can have a brace. */
function keysOf({ tenantId, contextId }: ConversationKey): [string, string, string] {
  const prefix = `{${tenantId}:context:${contextId}}`;
  return [`${prefix}:exchanges`, `${prefix}:ids`, `${prefix}:meta`];
}

function elementOf(exchange: ConversationExchange): string {
  return `${charactersOf(exchange)} ${tokensOf(exchange)} ${JSON.stringify(exchange)}`;
}

const ELEMENT_PATTERN = /^\d+ \d+ /;

/** Only what this class has written is read; what is not that is somebody else's, or of another version. */
function exchangeOf(element: string): ConversationExchange {
  try {
    return JSON.parse(element.replace(ELEMENT_PATTERN, ""));
  } catch (cause) {
    throw new ParleyError("unavailable", "a conversation in Redis cannot be read", { cause });
  }
}
