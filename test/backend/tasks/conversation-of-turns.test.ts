/** What the engine asks of the memory of conversations, turn by turn, and what it tells the caller. */
import { describe, expect, it } from "vitest";
import { createEchoAgent } from "../../../backend/agents/echo-agent.ts";
import type {
  ConversationMemory,
  SpokenExchange,
  TurnKey,
} from "../../../backend/stores/conversation-memory.ts";
import { createEngine, eventsOf, request } from "./engine-fixture.ts";

/** Notes what it is asked; what it gives is `conversation`. */
function createNotingMemory(
  conversation: Awaited<ReturnType<ConversationMemory["load"]>> = { exchanges: [] },
) {
  const loads: TurnKey[] = [];
  const appends: SpokenExchange[] = [];
  const memory: ConversationMemory = {
    async load(turn) {
      loads.push(turn);
      return conversation;
    },
    async append(_turn, exchange) {
      appends.push(exchange);
      return 1;
    },
    read: async () => undefined,
    compact: async () => false,
  };
  return { memory, loads, appends };
}

describe("a turn", () => {
  it("says whether the server has made its context just now, so that nobody looks for what cannot be there", async () => {
    const { memory, loads } = createNotingMemory();
    const engine = createEngine(createEchoAgent(), { memory });
    await eventsOf(await engine.accept(request("new")));
    await eventsOf(await engine.accept(request("named", { contextId: "c1" })));
    await eventsOf(await engine.accept({ ...request("on a stream"), defaultContextId: "c2" }));
    expect(loads.map(({ isNewContext }) => isNewContext)).toEqual([true, false, false]);
  });

  it("is remembered under its sender and message, at the time of its question", async () => {
    const { memory, loads, appends } = createNotingMemory();
    const engine = createEngine(createEchoAgent(), { memory, now: () => 1_234 });
    await eventsOf(await engine.accept(request("hello", { messageId: "m-1", contextId: "c1" })));
    expect(loads[0]).toMatchObject({ tenantId: "acme", contextId: "c1", exchangeId: "ann\nm-1" });
    const turns = [
      { role: "user", text: "hello" },
      { role: "assistant", text: "hello" },
    ];
    expect(appends).toEqual([{ id: "ann\nm-1", atMs: 1_234, turns }]);
  });

  it("tells the caller when more may have been said than the agent was shown", async () => {
    const { memory } = createNotingMemory({ exchanges: [], isIncomplete: true });
    const engine = createEngine(createEchoAgent(), { memory });
    const events = await eventsOf(await engine.accept(request("hello", { contextId: "c1" })));
    expect(events.at(-1)?.metadata).toMatchObject({ contextIncomplete: true });
    const whole = createEngine(createEchoAgent());
    const others = await eventsOf(await whole.accept(request("hello", { contextId: "c1" })));
    expect(others.at(-1)?.metadata).not.toHaveProperty("contextIncomplete");
  });
});
