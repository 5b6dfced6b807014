/** What every store of conversations promises: order, no exchange twice or in half, bounds, no lost update. */
import { describe, expect, it } from "vitest";
import {
  CONVERSATION_LIMITS,
  type ConversationExchange,
  type ConversationKey,
  type ConversationStore,
} from "../../../backend/stores/conversation-memory.ts";

/** A context that no other test has. */
export function newKey(tenantId = "acme"): ConversationKey {
  return { tenantId, contextId: crypto.randomUUID() };
}

/** A question and an answer, `size` characters each. */
export function exchange(id: string, atMs = 0, size = 0): ConversationExchange {
  return {
    id: `ann\n${id}`,
    atMs,
    turns: [
      { role: "user", text: `${id}?`.padEnd(size, "q"), tokens: 2 },
      { role: "assistant", text: `${id}!`.padEnd(size, "a"), tokens: 3 },
    ],
  };
}

const idsOf = (exchanges: readonly ConversationExchange[]) => exchanges.map(({ id }) => id.slice(4));
const create = { create: true };
const summary = { text: "They spoke — of 网关.", tokens: 7 };

/** @param storeUnderTest the store; asked for only inside tests */
export function conversationStoreContract(storeUnderTest: () => ConversationStore): void {
  const read = async (key: ConversationKey) => {
    const found = await storeUnderTest().read(key);
    if (!found) throw new Error("missing");
    return found;
  };

  it("keeps each of 100 exchanges once and whole when 200 appends arrive at once", async () => {
    const key = newKey();
    const sent = Array.from({ length: 100 }, (_, index) => exchange(`m${index}`, index));
    const outcomes = await Promise.all(
      [...sent, ...sent].map((one) => storeUnderTest().append(key, one, create)),
    );
    expect(outcomes.filter(({ status }) => status === "appended")).toHaveLength(100);
    expect(outcomes.filter(({ status }) => status === "known")).toHaveLength(100);
    const { exchanges } = await read(key);
    expect(exchanges).toEqual(sent);
    expect(outcomes.at(-1)?.tokens).toBe(500);
  });

  it("lets the oldest exchanges go over the limit of their number, and does not take them again", async () => {
    const key = newKey();
    for (let index = 0; index <= CONVERSATION_LIMITS.exchangesMax; index++) {
      await storeUnderTest().append(key, exchange(`m${index}`), create);
    }
    const again = await storeUnderTest().append(key, exchange("m0"), create);
    expect(again).toEqual({ status: "known", tokens: 5 * CONVERSATION_LIMITS.exchangesMax });
    const { exchanges } = await read(key);
    expect(exchanges).toHaveLength(CONVERSATION_LIMITS.exchangesMax);
    expect(idsOf(exchanges)[0]).toBe("m1");
  });

  it("lets whole exchanges go over the limit of characters, never the last one", async () => {
    const key = newKey();
    const size = CONVERSATION_LIMITS.charactersMax / 4;
    for (const id of ["a", "b", "c"]) await storeUnderTest().append(key, exchange(id, 0, size), create);
    const kept = await read(key);
    expect(idsOf(kept.exchanges)).toEqual(["b", "c"]);
    expect(kept.exchanges.every(({ turns }) => turns.length === 2)).toBe(true);
    const huge = exchange("d", 0, CONVERSATION_LIMITS.charactersMax);
    const { tokens } = await storeUnderTest().append(key, huge, create);
    expect([idsOf((await read(key)).exchanges), tokens]).toEqual([["d"], 5]);
  });

  it("tells an empty context from a missing one, and appends to a missing one only when told to", async () => {
    const key = newKey();
    expect(await storeUnderTest().open(key, "t")).toBeUndefined();
    const refused = await storeUnderTest().append(key, exchange("a"), { create: false });
    expect(refused.status).toBe("missing");
    expect(await storeUnderTest().read(key)).toBeUndefined();
    const nothing = { conversation: { exchanges: [] }, revision: undefined, exchangeId: "t" };
    expect(await storeUnderTest().replace(key, nothing)).toBe(true);
    expect((await read(key)).exchanges).toEqual([]);
    const taken = await storeUnderTest().append(key, exchange("a"), { create: false });
    expect(taken.status).toBe("appended");
  });

  it("is suspicious of a context whose last turn has not appended its exchange, until it has", async () => {
    const key = newKey();
    await storeUnderTest().append(key, exchange("a"), create);
    expect((await storeUnderTest().open(key, "ann\nb"))?.isSuspect).toBe(false);
    expect((await storeUnderTest().open(key, "ann\nc"))?.isSuspect).toBe(true);
    await storeUnderTest().append(key, exchange("c"), { create: false });
    expect((await storeUnderTest().open(key, "ann\nd"))?.isSuspect).toBe(false);
  });

  it("keeps what is appended while a summary is made, and drops what the summary is about", async () => {
    const key = newKey();
    for (const id of ["a", "b", "c"]) await storeUnderTest().append(key, exchange(id), create);
    const { revision } = await read(key);
    await storeUnderTest().append(key, exchange("d"), create);
    const done = await storeUnderTest().compact(key, { revision, throughExchangeId: "ann\nb", summary });
    const kept = await read(key);
    expect(done).toBe(true);
    expect([kept.summary, idsOf(kept.exchanges)]).toEqual([summary, ["c", "d"]]);
    expect((await storeUnderTest().append(key, exchange("a"), create)).status).toBe("known");
    expect((await storeUnderTest().append(key, exchange("e"), create)).tokens).toBe(15);
  });

  it("refuses a summary of what has been summarised, replaced or lost meanwhile", async () => {
    const key = newKey();
    for (const id of ["a", "b", "c"]) await storeUnderTest().append(key, exchange(id), create);
    const { revision } = await read(key);
    const compaction = { revision, throughExchangeId: "ann\na", summary };
    const raced = await Promise.all([1, 2].map(() => storeUnderTest().compact(key, compaction)));
    expect(raced.toSorted()).toEqual([false, true]);
    await storeUnderTest().forget(key);
    expect(await storeUnderTest().compact(key, compaction)).toBe(false);
    await storeUnderTest().append(key, exchange("a"), create);
    expect(await storeUnderTest().compact(key, compaction)).toBe(false);
  });

  it("keeps the newest exchange even of a context that is summarised to its end", async () => {
    const key = newKey();
    for (const id of ["a", "b"]) await storeUnderTest().append(key, exchange(id), create);
    const { revision } = await read(key);
    await storeUnderTest().compact(key, { revision, throughExchangeId: "ann\nb", summary });
    expect(idsOf((await read(key)).exchanges)).toEqual(["b"]);
  });

  it("replaces a conversation only as long as it is the one that was read", async () => {
    const key = newKey();
    await storeUnderTest().append(key, exchange("a"), create);
    const { revision } = await read(key);
    const conversation = { summary, exchanges: [exchange("x"), exchange("a")] };
    const replacement = { conversation, exchangeId: "ann\nb" };
    expect(await storeUnderTest().replace(key, { ...replacement, revision: undefined })).toBe(false);
    expect(await storeUnderTest().replace(key, { ...replacement, revision })).toBe(true);
    expect(await storeUnderTest().replace(key, { ...replacement, revision })).toBe(false);
    const kept = await read(key);
    expect([kept.summary, idsOf(kept.exchanges), kept.isSuspect]).toEqual([summary, ["x", "a"], true]);
    expect((await storeUnderTest().append(key, exchange("b"), create)).tokens).toBe(15);
  });

  describe("between tenants", () => {
    it("shares nothing, even of contexts of one id", async () => {
      const key = newKey();
      await storeUnderTest().append(key, exchange("a"), create);
      const foreign = { ...key, tenantId: "umbrella" };
      expect(await storeUnderTest().read(foreign)).toBeUndefined();
      await storeUnderTest().append(foreign, exchange("b"), create);
      await storeUnderTest().forget(foreign);
      expect(idsOf((await read(key)).exchanges)).toEqual(["a"]);
    });
  });
}
