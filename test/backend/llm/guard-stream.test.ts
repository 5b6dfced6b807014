import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { guardStream } from "../../../backend/llm/guard-stream.ts";
import type { LanguageModel, ModelEvent } from "../../../backend/llm/language-model.ts";
import {
  collect,
  failureOf,
  modelRequest,
  neverAborted,
  textOf,
  verdictOf,
} from "../../support/model-events.ts";
import { begins, ScriptedModel, type Step, says } from "../../support/scripted-model.ts";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

const LIMITS = { firstTokenTimeoutMs: 100, idleTimeoutMs: 50, totalTimeoutMs: 1_000 };

function guard(model: LanguageModel, signal = neverAborted(), limits = LIMITS) {
  return guardStream(model, modelRequest("Why?"), { ...limits, signal });
}

/** The failure of a guarded stream while time goes by, and when it came. */
async function failureInTime(model: LanguageModel, limits = LIMITS) {
  const startedAtMs = performance.now();
  const failed = failureOf(guard(model, neverAborted(), limits)).then(({ events, error }) => ({
    text: textOf(events),
    verdict: verdictOf(error),
    afterMs: performance.now() - startedAtMs,
  }));
  await vi.advanceTimersByTimeAsync(10_000);
  return failed;
}

function scripted(...script: Step[]) {
  return new ScriptedModel("test/m", script);
}

/** A model of which only the iterator matters. */
function iterating(iterator: Partial<AsyncIterator<ModelEvent>>): LanguageModel {
  const next = () => new Promise<never>(() => {});
  return { id: "test/m", stream: () => ({ [Symbol.asyncIterator]: () => ({ next, ...iterator }) }) };
}

const tick = { waitMs: 40 };

describe("the limits", () => {
  it("let a model through that keeps within them, however long it takes in all", async () => {
    const script = Array.from({ length: 20 }, () => [tick, begins("a ")]).flat();
    const text = collect(guard(scripted(...script, ...says("end")))).then(textOf);
    await vi.advanceTimersByTimeAsync(900);
    expect(await text).toBe(`${"a ".repeat(20)}end`);
  });

  it("end a call without a first token as first-token-timeout, in time", async () => {
    const silent = scripted({ silence: true });
    expect(await failureInTime(silent)).toEqual({
      text: "",
      verdict: { reason: "first-token-timeout", retryable: false },
      afterMs: 100,
    });
    expect(silent.signals[0]?.aborted).toBe(true);
  });

  it("do not take a usage event for a token", async () => {
    const usage = { type: "usage", usage: { inputTokens: 1, outputTokens: 0 } } as const;
    const { verdict } = await failureInTime(scripted(usage, { silence: true }));
    expect(verdict).toMatchObject({ reason: "first-token-timeout" });
  });

  it("end a call that falls silent as stalled, in time after its last token", async () => {
    const { text, verdict, afterMs } = await failureInTime(scripted(tick, begins("a"), { silence: true }));
    expect({ text, verdict, afterMs }).toEqual({
      text: "a",
      verdict: { reason: "stalled", retryable: false },
      afterMs: 90,
    });
  });

  it("end a call that never comes to its end", async () => {
    const endless = Array.from({ length: 1_000 }, () => [tick, begins("a")]).flat();
    const { verdict, afterMs } = await failureInTime(scripted(...endless));
    expect({ verdict, afterMs }).toEqual({
      verdict: { reason: "stalled", retryable: false },
      afterMs: 1_000,
    });
  });

  it("take a total limit before the first token for a first-token limit", async () => {
    const { verdict, afterMs } = await failureInTime(scripted({ silence: true }), {
      ...LIMITS,
      totalTimeoutMs: 30,
    });
    expect({ verdict, afterMs }).toMatchObject({ verdict: { reason: "first-token-timeout" }, afterMs: 30 });
  });

  it("do not count the time that the consumer takes as the model's silence", async () => {
    const events = guard(scripted(begins("a"), begins("b"), { silence: true }));
    await events.next();
    await vi.advanceTimersByTimeAsync(500);
    expect(await events.next()).toMatchObject({ value: { text: "b" } });
    await vi.advanceTimersByTimeAsync(300);
    const waiting = failureOf(events);
    await vi.advanceTimersByTimeAsync(49);
    const startedAtMs = performance.now();
    await vi.advanceTimersByTimeAsync(1);
    expect(verdictOf((await waiting).error)).toMatchObject({ reason: "stalled" });
    expect(performance.now() - startedAtMs).toBe(1);
  });

  it("hold against a model that ignores its signal", async () => {
    expect((await failureInTime(iterating({}))).verdict).toMatchObject({ reason: "first-token-timeout" });
  });

  it("hold against a model that ends as if finished when it is aborted", async () => {
    const polite: LanguageModel = {
      id: "test/m",
      async *stream(_, signal) {
        yield begins("a") as ModelEvent;
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
        yield { type: "finish", reason: "stop" };
      },
    };
    expect(await failureInTime(polite)).toMatchObject({ text: "a", verdict: { reason: "stalled" } });
  });

  it("hold against a model that throws something else when it is aborted", async () => {
    const rude: LanguageModel = {
      id: "test/m",
      async *stream(_, signal) {
        yield begins("a") as ModelEvent;
        await new Promise((_resolve, reject) =>
          signal.addEventListener("abort", () => reject(new Error("eek"))),
        );
      },
    };
    expect((await failureInTime(rude)).verdict).toMatchObject({ reason: "stalled" });
  });

  it("leave no timer behind, whatever happens", async () => {
    await collect(guard(scripted(...says("whole"))));
    await failureOf(guard(scripted(begins("a"), { fail: "truncated" })));
    await failureOf(guard(scripted({ silence: true }), AbortSignal.abort("gone")));
    for await (const _ of guard(scripted(...says("left early")))) break;
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe("the caller's signal", () => {
  it("ends the wait at once with its reason, and reaches the model", async () => {
    const controller = new AbortController();
    const model = scripted(begins("a"), { silence: true });
    const failed = failureOf(guard(model, controller.signal));
    await vi.advanceTimersByTimeAsync(10);
    controller.abort("changed my mind");
    expect((await failed).error).toBe("changed my mind");
    expect(model.signals[0]?.reason).toBe("changed my mind");
  });

  it("calls no model when it has aborted before", async () => {
    const model = scripted(...says("x"));
    expect((await failureOf(guard(model, AbortSignal.abort("gone")))).error).toBe("gone");
    expect(model.requests).toHaveLength(0);
  });

  it("ends a wait for a model that ignores it", async () => {
    const controller = new AbortController();
    const failed = failureOf(guard(iterating({}), controller.signal));
    controller.abort("gone");
    expect((await failed).error).toBe("gone");
  });

  it("carries no listener of ours when the call is over", async () => {
    const { signal } = new AbortController();
    const added = vi.spyOn(signal, "addEventListener");
    const removed = vi.spyOn(signal, "removeEventListener");
    await collect(guard(scripted(...says("whole")), signal));
    expect(removed.mock.calls.map(([, listener]) => listener)).toEqual(
      expect.arrayContaining(added.mock.calls.map(([, listener]) => listener)),
    );
  });
});

describe("the port's contract", () => {
  it("is that a stream without finish is truncated", async () => {
    const { events, error } = await failureOf(guard(scripted(begins("a"))));
    expect(textOf(events)).toBe("a");
    expect(verdictOf(error)).toEqual({ reason: "truncated", retryable: true });
  });

  it("is that nothing follows the finish", async () => {
    const finish = { type: "finish", reason: "stop" } as const;
    const events = await collect(guard(scripted(begins("a"), finish, begins("b"), finish)));
    expect(events).toEqual([begins("a"), finish]);
  });

  it("is that pieces of text are not empty", async () => {
    const events = await collect(guard(scripted(begins(""), ...says("a"))));
    expect(events).not.toContainEqual(begins(""));
  });

  it("is that a model's own failure comes through as it is", async () => {
    const { error } = await failureOf(guard(scripted({ fail: "rate-limited", retryAfterMs: 7 })));
    expect(error).toMatchObject({ reason: "rate-limited", retryable: true, retryAfterMs: 7 });
  });

  it("is that whatever else a model throws is garbage", async () => {
    const failing = iterating({ next: () => Promise.reject(new TypeError("oops")) });
    expect(verdictOf((await failureOf(guard(failing))).error)).toEqual({
      reason: "garbled",
      retryable: false,
    });
    const broken: LanguageModel = {
      id: "test/m",
      stream: () => {
        throw new Error("oops");
      },
    };
    expect(verdictOf((await failureOf(guard(broken))).error)).toEqual({
      reason: "garbled",
      retryable: false,
    });
  });

  it("is that a model learns when its consumer stops early, and is not waited for", async () => {
    let returned = false;
    const clinging = iterating({
      next: () => Promise.resolve({ done: false, value: begins("a") as ModelEvent }),
      return: () => {
        returned = true;
        return new Promise(() => {});
      },
    });
    for await (const _ of guard(clinging)) break;
    expect(returned).toBe(true);
  });
});
