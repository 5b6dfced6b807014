/** A turn's text, its events and its end, whatever order and repeats its sources bring. */
import { describe, expect, it } from "vitest";
import { ClientError } from "../../../edge/client/client-error.ts";
import type { TurnEvent } from "../../../edge/client/message.ts";
import { Turn } from "../../../edge/client/turn.ts";

async function eventsOf(turn: Turn): Promise<TurnEvent[]> {
  const events: TurnEvent[] = [];
  for await (const event of turn) events.push(event);
  return events;
}

const newTurn = (signal?: AbortSignal) => new Turn("m-1", { cancel() {} }, signal);

describe("a turn", () => {
  it("has exactly the text that no restart has voided", () => {
    const turn = newTurn();
    turn.apply({ taskId: "t-1", sequence: 1, accepted: {} });
    turn.apply({ taskId: "t-1", sequence: 2, delta: "wro" });
    turn.apply({ taskId: "t-1", sequence: 3, delta: "ng" });
    turn.apply({ taskId: "t-1", sequence: 4, restart: { discardAfterSequence: 2 } });
    expect(turn.text).toBe("wro");
    turn.apply({ taskId: "t-1", sequence: 5, delta: "te" });
    expect(turn.text).toBe("wrote");
  });

  it("begins anew when its task was lost, and takes the events of the other task", () => {
    const turn = newTurn();
    turn.apply({ taskId: "t-1", sequence: 1, accepted: {} });
    turn.apply({ taskId: "t-1", sequence: 2, delta: "old" });
    turn.apply({ taskId: "t-1", restart: { reason: "task-lost" } });
    turn.apply({ taskId: "t-2", sequence: 1, accepted: {} });
    turn.apply({ taskId: "t-2", sequence: 2, delta: "new" });
    expect(turn.text).toBe("new");
  });

  it("ignores an event that it has seen", () => {
    const turn = newTurn();
    for (const _ of [1, 2]) turn.apply({ taskId: "t-1", sequence: 1, delta: "a" });
    expect(turn.text).toBe("a");
  });

  it("keeps for a late reader every delta joined, and then ends", async () => {
    const turn = newTurn();
    for (let n = 1; n <= 5_000; n++) turn.apply({ taskId: "t-1", sequence: n, delta: "x" });
    turn.apply({ taskId: "t-1", sequence: 5_001, content: {}, text: "x".repeat(5_000) });
    const events = await eventsOf(turn);
    expect(events.map(({ type }) => type)).toEqual(["delta", "content"]);
    expect(events[0]?.text).toHaveLength(5_000);
  });

  it("fails with the gateway's own code", async () => {
    const turn = newTurn();
    turn.apply({ taskId: "t-1", sequence: 1, error: { code: "unavailable", message: "later" } });
    await expect(turn.reply).rejects.toMatchObject({ code: "unavailable", retryable: true });
    await expect(eventsOf(turn)).rejects.toBeInstanceOf(ClientError);
  });

  it("is canceled by its signal", async () => {
    const controller = new AbortController();
    const turn = newTurn(controller.signal);
    controller.abort();
    await expect(turn.reply).rejects.toMatchObject({ code: "canceled" });
  });
});
