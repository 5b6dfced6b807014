/** The memory of conversations over a store and a log: what is found again after which loss, and what it costs. */
import { describe, expect, it } from "vitest";
import {
  type ConversationKey,
  type ConversationStore,
  exchangeId,
  type SpokenExchange,
  type TurnKey,
} from "../../../backend/stores/conversation-memory.ts";
import { DurableConversationMemory } from "../../../backend/stores/durable-conversation-memory.ts";
import { MemoryConversationStore } from "../../../backend/stores/memory-conversation-store.ts";
import { ParleyError } from "../../../core/errors/parley-error.ts";
import { wordCounter } from "../../support/conversation-memory.ts";

const signal = new AbortController().signal;

/** A log that can be away, and that counts its readers. */
class FakeLog {
  readonly exchanges = new Map<string, SpokenExchange[]>();
  reads = 0;
  isAway = false;

  add({ contextId }: ConversationKey, exchange: SpokenExchange): void {
    this.exchanges.set(contextId, [...(this.exchanges.get(contextId) ?? []), exchange]);
  }

  async newest({ contextId }: ConversationKey): Promise<SpokenExchange[]> {
    this.reads += 1;
    if (this.isAway) throw new ParleyError("unavailable", "away");
    return this.exchanges.get(contextId) ?? [];
  }
}

/** A store that can be away (calls fail), silent (calls hang), or lose everything. */
class FaultyStore {
  inner = new MemoryConversationStore();
  state: "ready" | "away" | "silent" = "ready";
  readonly store = new Proxy({} as ConversationStore, {
    get:
      (_, name: keyof ConversationStore) =>
      (...args: unknown[]) => {
        if (this.state === "away") return Promise.reject(new ParleyError("unavailable", "away"));
        if (this.state === "silent") return new Promise(() => {});
        return (this.inner[name] as (...args: unknown[]) => unknown).apply(this.inner, args);
      },
  });
}

let clockMs = 0;

function setUp(faulty = new FaultyStore(), log = new FakeLog()) {
  let connection = 1;
  const memory = new DurableConversationMemory({
    ...{ store: faulty.store, log, counter: wordCounter },
    connectionNumber: () => connection,
    onFailure: () => {},
  });
  /** A whole turn; `logged: false` for one that the log has not written yet. */
  const say = async (key: ConversationKey, text: string, { isNewContext = false, logged = true } = {}) => {
    const turn = turnOf(key, text, isNewContext);
    const conversation = await memory.load(turn, signal);
    const exchange = spoken(text);
    if (logged) log.add(key, exchange);
    await memory.append(turn, exchange);
    return textsOf(conversation);
  };
  const reconnect = async () => {
    connection += 1;
    await memory.forgetShort();
  };
  return { faulty, log, memory, say, reconnect };
}

function turnOf(key: ConversationKey, text: string, isNewContext = false): TurnKey {
  return { ...key, isNewContext, exchangeId: exchangeId({ senderId: "ann", messageId: text }) };
}

function spoken(text: string): SpokenExchange {
  clockMs += 1;
  return {
    id: exchangeId({ senderId: "ann", messageId: text }),
    atMs: clockMs,
    turns: [
      { role: "user", text },
      { role: "assistant", text: `${text}!` },
    ],
  };
}

const textsOf = ({ exchanges }: { exchanges: readonly SpokenExchange[] }) =>
  exchanges.map(({ turns }) => turns[0]?.text).join(" ");
const newKey = (): ConversationKey => ({ tenantId: "acme", contextId: crypto.randomUUID() });

describe("the memory of conversations", () => {
  it("asks the log nothing about a context that the server has just made, nor about its later turns", async () => {
    const { say, log } = setUp();
    const key = newKey();
    await say(key, "a", { isNewContext: true });
    await say(key, "b");
    expect(await say(key, "c")).toBe("a b");
    expect(log.reads).toBe(0);
  });

  it("asks the log once about a context that the caller has named, even when nothing was said in it", async () => {
    const { say, log } = setUp();
    const key = newKey();
    for (const text of ["a", "b", "c"]) await say(key, text);
    expect(log.reads).toBe(1);
  });

  it("asks the log once for all who load a context at the same time", async () => {
    const { memory, log } = setUp();
    const key = newKey();
    log.add(key, spoken("a"));
    const loads = ["x", "y", "z"].map((text) => memory.load(turnOf(key, text), signal));
    for (const conversation of await Promise.all(loads)) expect(textsOf(conversation)).toBe("a");
    expect(log.reads).toBe(1);
  });

  it("finds everything again in the log when the store has lost it, counted", async () => {
    const { say, faulty, memory } = setUp();
    const key = newKey();
    await say(key, "a", { isNewContext: true });
    await say(key, "b");
    faulty.inner = new MemoryConversationStore();
    const conversation = await memory.load(turnOf(key, "c"), signal);
    expect(textsOf(conversation)).toBe("a b");
    expect(conversation.exchanges[0]?.turns.map(({ tokens }) => tokens)).toEqual([1, 1]);
    expect(conversation.isIncomplete).toBeUndefined();
  });

  it("finds everything again when the store loses it in the middle of a turn", async () => {
    const { say, faulty, memory, log } = setUp();
    const key = newKey();
    await say(key, "a", { isNewContext: true });
    const turn = turnOf(key, "b");
    await memory.load(turn, signal);
    faulty.inner = new MemoryConversationStore();
    const exchange = spoken("b");
    log.add(key, exchange);
    await memory.append(turn, exchange);
    expect(await say(key, "c")).toBe("a b");
  });

  it.each(["away", "silent"] as const)(
    "goes on with the log while the store is %s, and misses nothing afterwards",
    async (state) => {
      const { say, faulty, reconnect } = setUp();
      const key = newKey();
      await say(key, "a", { isNewContext: true });
      faulty.state = state;
      expect(await say(key, "b")).toBe("a");
      expect(await say(key, "c")).toBe("a b");
      faulty.state = "ready";
      await reconnect();
      expect(await say(key, "d")).toBe("a b c");
      expect(await say(key, "e")).toBe("a b c d");
    },
  );

  it("takes back a copy that missed an append, so that another process does not believe it", async () => {
    const faulty = new FaultyStore();
    const log = new FakeLog();
    const [one, other] = [setUp(faulty, log), setUp(faulty, log)];
    const key = newKey();
    await one.say(key, "a", { isNewContext: true });
    await other.say(key, "b");
    faulty.state = "away";
    await one.say(key, "c");
    faulty.state = "ready";
    await one.reconnect();
    expect(await other.say(key, "d")).toBe("a b c");
  });

  it("does not believe a copy whose last turn did not append, whoever ran it", async () => {
    const faulty = new FaultyStore();
    const log = new FakeLog();
    const [one, other] = [setUp(faulty, log), setUp(faulty, log)];
    const key = newKey();
    await one.say(key, "a", { isNewContext: true });
    await other.say(key, "b");
    // The other process dies after the log has its turn, before the store has.
    await other.memory.load(turnOf(key, "c"), signal);
    log.add(key, spoken("c"));
    expect(await one.say(key, "d")).toBe("a b c");
  });

  it("does not believe an older state that the store comes back with", async () => {
    const { say, faulty, reconnect } = setUp();
    const key = newKey();
    await say(key, "a", { isNewContext: true });
    const older = await faulty.inner.read(key);
    await say(key, "b");
    faulty.inner = new MemoryConversationStore();
    await faulty.inner.append(key, older?.exchanges[0] as never, { create: true });
    await reconnect();
    expect(await say(key, "c")).toBe("a b");
  });

  it("knows its own exchanges that the log has not written yet", async () => {
    const { say, faulty } = setUp();
    const key = newKey();
    await say(key, "a", { isNewContext: true });
    await say(key, "b", { logged: false });
    faulty.inner = new MemoryConversationStore();
    expect(await say(key, "c")).toBe("a b");
  });

  it("keeps the summary when it adds what was missing", async () => {
    const { say, faulty, memory, log } = setUp();
    const key = newKey();
    await say(key, "a", { isNewContext: true });
    await say(key, "b");
    const { revision = "" } = (await memory.read(key)) ?? {};
    const summary = { text: "about a", tokens: 2 };
    expect(await memory.compact(key, { revision, throughExchangeId: "ann\na", summary })).toBe(true);
    await faulty.inner.open(key, "ann\nlost");
    log.add(key, spoken("lost"));
    const conversation = await memory.load(turnOf(key, "c"), signal);
    expect([conversation.summary, textsOf(conversation)]).toEqual([summary, "b lost"]);
    expect((await memory.read(key))?.summary).toEqual(summary);
  });

  it("says so when neither store nor log can tell what was said, and is whole again afterwards", async () => {
    const { say, faulty, log, memory, reconnect } = setUp();
    const key = newKey();
    await say(key, "a", { isNewContext: true });
    const stranger = setUp(faulty, log);
    faulty.state = "away";
    log.isAway = true;
    const conversation = await stranger.memory.load(turnOf(key, "b"), signal);
    expect(conversation).toMatchObject({ exchanges: [], isIncomplete: true });
    expect(textsOf(await memory.load(turnOf(key, "b"), signal))).toBe("a");
    faulty.state = "ready";
    log.isAway = false;
    await reconnect();
    expect(await say(key, "c")).toBe("a");
  });

  it("does not show a turn that is run again its own answer, and keeps the one that was there", async () => {
    const { say, memory, faulty } = setUp();
    const key = newKey();
    await say(key, "a", { isNewContext: true });
    await say(key, "b");
    expect(await say(key, "b")).toBe("a");
    faulty.inner = new MemoryConversationStore();
    expect(await say(key, "b")).toBe("a");
    expect((await memory.read(key))?.exchanges).toHaveLength(2);
  });

  it("ends the wait, with the signal's reason, when the turn is stopped", async () => {
    const { memory } = setUp();
    const stop = new AbortController();
    const reason = new ParleyError("canceled", "stopped");
    const loading = memory.load(turnOf(newKey(), "a"), stop.signal);
    stop.abort(reason);
    await expect(loading).rejects.toBe(reason);
  });

  it("cuts a turn that is longer than all that is kept", async () => {
    const { memory } = setUp();
    const key = newKey();
    await memory.append(turnOf(key, "a", true), spoken("x".repeat(300_000)));
    expect((await memory.read(key))?.exchanges[0]?.turns[0]?.text).toHaveLength(200_000);
  });
});
