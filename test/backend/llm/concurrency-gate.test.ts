import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ConcurrencyGate } from "../../../backend/llm/concurrency-gate.ts";
import { neverAborted } from "../../support/model-events.ts";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

const gate = (activeMax = 1, waitingMax = 2) => new ConcurrencyGate({ activeMax, waitingMax });

describe("a gate", () => {
  it("lets as many in as it may, and the next one when one leaves, in order of arrival", async () => {
    const one = gate(2);
    const [a, b] = [one.tryEnter(), one.tryEnter()];
    const entered: string[] = [];
    const wait = (name: string) =>
      one.enter(1_000, neverAborted()).then((leave) => {
        if (leave) entered.push(name);
        return leave;
      });
    const c = wait("c");
    const d = wait("d");
    expect(one.tryEnter()).toBeUndefined();
    a?.();
    await c;
    expect(entered).toEqual(["c"]);
    b?.();
    await d;
    expect(entered).toEqual(["c", "d"]);
    expect([one.active, one.waiting]).toEqual([2, 0]);
  });

  it("gives a place back once, however often it is told", () => {
    const one = gate();
    const leave = one.tryEnter();
    leave?.();
    leave?.();
    expect(one.active).toBe(0);
    expect([one.tryEnter(), one.tryEnter()].filter(Boolean)).toHaveLength(1);
  });

  it("turns away at once whoever comes when as many wait as may", async () => {
    const one = gate(1, 2);
    one.tryEnter();
    const waiting = [one.enter(1_000, neverAborted()), one.enter(1_000, neverAborted())];
    expect(await one.enter(1_000, neverAborted())).toBeUndefined();
    await vi.advanceTimersByTimeAsync(1_000);
    expect(await Promise.all(waiting)).toEqual([undefined, undefined]);
  });

  it("forgets whoever has waited long enough, and gives the place to the next", async () => {
    const one = gate();
    const leave = one.tryEnter();
    const impatient = one.enter(10, neverAborted());
    const patient = one.enter(1_000, neverAborted());
    await vi.advanceTimersByTimeAsync(10);
    expect(await impatient).toBeUndefined();
    leave?.();
    expect(await patient).toBeTypeOf("function");
    expect([one.active, one.waiting, vi.getTimerCount()]).toEqual([1, 0, 0]);
  });

  it("lets a caller stop waiting, at once and without a trace", async () => {
    const one = gate();
    const leave = one.tryEnter();
    const controller = new AbortController();
    const removed = vi.spyOn(controller.signal, "removeEventListener");
    const waiting = one.enter(1_000, controller.signal);
    controller.abort("changed my mind");
    await expect(waiting).rejects.toBe("changed my mind");
    expect([one.waiting, vi.getTimerCount()]).toEqual([0, 0]);
    expect(removed).toHaveBeenCalled();
    leave?.();
    expect(one.tryEnter()).toBeTypeOf("function");
    await expect(one.enter(1, AbortSignal.abort("gone"))).rejects.toBe("gone");
  });
});
