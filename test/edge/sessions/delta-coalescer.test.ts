import { create } from "@bufbuild/protobuf";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { deltaTextsOf } from "../../../core/messages/joined-deltas.ts";
import { DeltaCoalescer } from "../../../edge/sessions/delta-coalescer.ts";
import { DELTA_FRAME_CHARACTERS_MAX, DELTAS_PER_FRAME_MAX } from "../../../edge/sessions/session-limits.ts";
import { type A2AMessage, A2AMessageSchema } from "../../../proto/gen/parley/v1/agent_service_pb.js";

const COALESCE_MS = 50;

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

/** A coalescer, and what it has sent: when, and the deltas together. */
function newCoalescer() {
  const startedAtMs = Date.now();
  const sent: [number, string][] = [];
  const coalescer = new DeltaCoalescer({
    coalesceMs: COALESCE_MS,
    now: Date.now,
    emit: (events) => sent.push([Date.now() - startedAtMs, events.map(textOf).join("|")]),
  });
  return { sent, coalescer };
}

const delta = (value: string): A2AMessage =>
  create(A2AMessageSchema, { body: { case: "delta", value } } as never);
const deltas = (...texts: string[]): A2AMessage =>
  create(A2AMessageSchema, { body: { case: "deltas", value: { texts } } } as never);
const textOf = (event: A2AMessage) => deltaTextsOf(event)?.join(",") ?? event.body.case;
const accepted = create(A2AMessageSchema, { body: { case: "accepted", value: {} } } as never);

describe("deltas", () => {
  it("go out at once when they are the first, and after a pause", () => {
    const { sent, coalescer } = newCoalescer();
    coalescer.push(delta("a"));
    expect(sent).toEqual([[0, "a"]]);
    vi.advanceTimersByTime(COALESCE_MS);
    coalescer.push(delta("b"));
    expect(sent).toEqual([
      [0, "a"],
      [COALESCE_MS, "b"],
    ]);
  });

  it("wait for each other for 50 ms at most, from the frame before", () => {
    const { sent, coalescer } = newCoalescer();
    for (let count = 0; count < 100; count++) {
      coalescer.push(delta(String(count)));
      vi.advanceTimersByTime(1);
    }
    coalescer.flush();
    // With the delta that comes in the last 10 ms before one is due.
    expect(sent.map(([atMs]) => atMs)).toEqual([0, 40, 80, 100]);
    expect(sent.map(([, text]) => text).join("|")).toBe([...Array(100).keys()].join("|"));
  });

  it("that a backend has put together go out with no further wait, a little early or late as they come", () => {
    const { sent, coalescer } = newCoalescer();
    coalescer.push(delta("a"));
    vi.advanceTimersByTime(COALESCE_MS - 7);
    coalescer.push(deltas("b", "c"));
    vi.advanceTimersByTime(COALESCE_MS + 7);
    coalescer.push(deltas("d", "e"));
    expect(sent).toEqual([
      [0, "a"],
      [COALESCE_MS - 7, "b,c"],
      [2 * COALESCE_MS, "d,e"],
    ]);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("that a backend has put together count one by one for what a frame may have", () => {
    const { sent, coalescer } = newCoalescer();
    coalescer.push(delta("a"));
    const half = Array.from({ length: DELTAS_PER_FRAME_MAX / 2 }, () => "x");
    coalescer.push(deltas(...half));
    expect(sent).toHaveLength(1);
    coalescer.push(deltas(...half));
    expect(sent).toHaveLength(2);
  });

  it("go out before an event of another kind, which does not wait", () => {
    const { sent, coalescer } = newCoalescer();
    coalescer.push(delta("a"));
    coalescer.push(delta("b"));
    coalescer.push(accepted);
    expect(sent.map(([atMs]) => atMs)).toEqual([0, 0, 0]);
    expect(sent[1]).toEqual([0, "b"]);
    expect(vi.getTimerCount()).toBe(0);
  });

  it.each([
    ["count", "x", DELTAS_PER_FRAME_MAX],
    ["length", "x".repeat(DELTA_FRAME_CHARACTERS_MAX / 4), 4],
  ])("are together no more than a frame may have, by %s", (_, text, many) => {
    const { sent, coalescer } = newCoalescer();
    coalescer.push(delta("first"));
    for (let count = 1; count < many; count++) coalescer.push(delta(text));
    expect(sent).toHaveLength(1);
    coalescer.push(delta(text));
    expect(sent).toHaveLength(2);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("that wait are forgotten by a stop, and hold no timer", () => {
    const { sent, coalescer } = newCoalescer();
    coalescer.push(delta("a"));
    coalescer.push(delta("b"));
    coalescer.stop();
    vi.runAllTimers();
    expect(sent).toHaveLength(1);
  });
});
