/**
 * What was said before in a context: the port that turns are run on (`ConversationMemory`), and the two ports that
 * it rests on, a quick store of the newest exchanges and the durable log that can make them again.
 */

/** One side of an exchange, with what it takes of a model's window. */
export interface ConversationTurn {
  readonly role: "user" | "assistant";
  readonly text: string;
  readonly tokens: number;
}

/**
 * A question and its answer. They are kept, cut off and shown to models together or not at all; whatever else may
 * stand between them one day (a call of a tool, its result) belongs to the same exchange.
 */
export interface ConversationExchange {
  /** Unique in its context: who sent the question, and its message id. */
  readonly id: string;
  /** When the question was accepted, Unix epoch, milliseconds. */
  readonly atMs: number;
  readonly turns: readonly ConversationTurn[];
}

/** An exchange whose tokens nobody has counted yet. */
export interface SpokenExchange {
  readonly id: string;
  readonly atMs: number;
  readonly turns: readonly Pick<ConversationTurn, "role" | "text">[];
}

/** What exchanges that are no longer kept were about. */
export interface ConversationSummary {
  readonly text: string;
  readonly tokens: number;
}

/** What is remembered of a context. */
export interface Conversation {
  readonly summary?: ConversationSummary | undefined;
  /** Oldest first; all of them newer than what the summary is about. */
  readonly exchanges: readonly ConversationExchange[];
  /** Set when neither the store nor the log could say what was said before: more may have been said than this. */
  readonly isIncomplete?: boolean;
}

/** Identifies a conversation; contexts of different tenants never meet. */
export interface ConversationKey {
  readonly tenantId: string;
  readonly contextId: string;
}

/** A turn that is about to be run. */
export interface TurnKey extends ConversationKey {
  /** The id that its exchange will have; see {@link exchangeId}. */
  readonly exchangeId: string;
  /** The server has just made the context's id, for this very message: nothing can have been said in it. */
  readonly isNewContext: boolean;
}

/** Takes the place of the oldest exchanges. */
export interface Compaction {
  /** Of the conversation that was summarised; it must not have changed in between, other than by appends. */
  readonly revision: string;
  /** The last exchange that the summary is about; it and all before it are dropped. */
  readonly throughExchangeId: string;
  readonly summary: ConversationSummary;
}

/**
 * Remembers conversations. Turns of one context are run one at a time, so between `load` and `append` of a turn
 * nobody else appends; where that cannot be had (two backends without Redis), no exchange is lost from the log.
 */
export interface ConversationMemory {
  /**
   * The newest exchanges that are kept, all of those that this or another backend has appended, without the turn's own. Rejects only with the
   * reason of `signal`; when everything below it fails, the conversation is empty or short, and says so.
   */
  load(turn: TurnKey, signal: AbortSignal): Promise<Conversation>;

  /**
   * Adds an exchange; one that is there already is left alone. Never rejects and never waits for long: what the store
   * did not take is in the log, and is found again by the next `load`. Gives the tokens of all exchanges that are
   * kept, undefined when the store cannot say.
   */
  append(turn: TurnKey, exchange: SpokenExchange): Promise<number | undefined>;

  /** What is kept, for summarising; undefined when nothing is or it cannot be had. Never rejects. */
  read(key: ConversationKey): Promise<StoredConversation | undefined>;

  /** Whether the summary has taken its exchanges' place; false when they changed meanwhile. Never rejects. */
  compact(key: ConversationKey, compaction: Compaction): Promise<boolean>;
}

/** A conversation as the store has it. */
export interface StoredConversation extends Conversation {
  /** Another one after each `replace` and `compact`; appends leave it alone. */
  readonly revision: string;
  /** A turn has been opened and has not appended its exchange: it failed, or its append did not arrive. */
  readonly isSuspect: boolean;
}

/** What came of an append, and the tokens of all exchanges kept. */
export interface AppendOutcome {
  /** `missing`: the context is not kept, and was not to be created. */
  readonly status: "appended" | "known" | "missing";
  readonly tokens: number;
}

/**
 * The quick store: of each context the newest exchanges, within {@link CONVERSATION_LIMITS}. It may lose everything at
 * any time, but not half of a context. Each operation is atomic. An empty context that is kept differs from one
 * that is missing. Adapters reject with ParleyError `unavailable`; what failed may have been carried out.
 */
export interface ConversationStore {
  /** What is kept; notes that a turn is under way, until its exchange is appended. Undefined when missing. */
  open(key: ConversationKey, exchangeId: string): Promise<StoredConversation | undefined>;
  /** What is kept. Undefined when missing. */
  read(key: ConversationKey): Promise<StoredConversation | undefined>;
  /** Adds an exchange unless its id is known; the oldest give way. `create`: also to a context that is missing. */
  append(
    key: ConversationKey,
    exchange: ConversationExchange,
    options: { readonly create: boolean },
  ): Promise<AppendOutcome>;
  /**
   * Puts a conversation in the place of what is kept, with the turn `exchangeId` under way. Only while its revision is
   * `revision`, undefined for missing; otherwise false.
   */
  replace(key: ConversationKey, replacement: Replacement): Promise<boolean>;
  /** See {@link Compaction}. Never drops the newest exchange. */
  compact(key: ConversationKey, compaction: Compaction): Promise<boolean>;
  /** Forgets a context. */
  forget(key: ConversationKey): Promise<void>;
}

/** What takes the place of a conversation. */
export interface Replacement {
  readonly conversation: Conversation;
  readonly revision: string | undefined;
  readonly exchangeId: string;
}

/** The durable log, as the source of conversations. */
export interface ConversationLog {
  /**
   * The newest exchanges of a context that were answered (not those that failed or got a preset reply, nor those whose
   * sender brought a history of its own), oldest first, bounded. Rejects with ParleyError when the log cannot be asked, or with the signal's reason.
   */
  newest(key: ConversationKey, signal: AbortSignal): Promise<readonly SpokenExchange[]>;
}

/** What is kept of each context. */
export const CONVERSATION_LIMITS = {
  /** More than windows of common sizes take in; what is older lives in the summary. */
  exchangesMax: 100,
  /** Of all exchanges, UTF-16 code units: some 100,000 tokens. */
  charactersMax: 400_000,
  /** Of one turn: an exchange always fits. A longer one is cut. */
  turnCharactersMax: 200_000,
} as const;

/** The id of the exchange that a message begins. Neither id can have a line end. */
export function exchangeId(message: { readonly senderId: string; readonly messageId: string }): string {
  return `${message.senderId}\n${message.messageId}`;
}

/** Characters of all turns. */
export function charactersOf({ turns }: ConversationExchange): number {
  return turns.reduce((sum, { text }) => sum + text.length, 0);
}

/** Tokens of all turns. */
export function tokensOf({ turns }: ConversationExchange): number {
  return turns.reduce((sum, { tokens }) => sum + tokens, 0);
}
