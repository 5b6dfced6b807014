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

  it("has the text of exactly the deltas that a restart leaves, when they came in one frame with others", () => {
    const turn = newTurn();
    const metadata = { deltaLengths: [2, 3, 1] };
    turn.apply({ taskId: "t-1", sequence: 1, delta: "a" });
    turn.apply({ taskId: "t-1", sequence: 4, delta: "bbcccd", metadata });
    turn.apply({ taskId: "t-1", sequence: 5, restart: { discardAfterSequence: 3 } });
    expect(turn.text).toBe("abbccc");
  });

  it("takes of a frame of several deltas only those that it has not seen", async () => {
    const turn = newTurn();
    turn.apply({ taskId: "t-1", sequence: 3, delta: "seen" });
    turn.apply({ taskId: "t-1", sequence: 5, delta: "12345", metadata: { deltaLengths: [1, 2, 2] } });
    expect(turn.text).toBe("seen2345");
    turn.apply({ taskId: "t-1", sequence: 6, content: {}, text: "seen2345" });
    expect((await eventsOf(turn))[0]).toMatchObject({ type: "delta", delta: "seen2345" });
  });

  it("tells a reader who is 1,000 events behind, by a restart to the text as it is", async () => {
    const turn = newTurn();
    for (let n = 1; n <= 3_000; n += 2) {
      turn.apply({ taskId: "t-1", sequence: n, delta: "x" });
      turn.apply({ taskId: "t-1", sequence: n + 1, status: { state: "TASK_STATE_WORKING" } });
    }
    turn.apply({ taskId: "t-1", sequence: 3_001, content: {}, text: "x".repeat(1_500) });
    const events = await eventsOf(turn);
    expect(events.length).toBeLessThanOrEqual(1_001);
    expect(events[0]).toMatchObject({ type: "restart", reason: "unread" });
    let text = "";
    for (const event of events) {
      if (event.type === "restart") text = event.text;
      if (event.type === "delta") text += event.delta;
    }
    expect(text).toBe("x".repeat(1_500));
    expect(events.at(-1)?.type).toBe("content");
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
