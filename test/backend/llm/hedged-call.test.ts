/** Asking a second model because the first is slow. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ConcurrencyGate } from "../../../backend/llm/concurrency-gate.ts";
import { HEDGED_SHARE_MAX } from "../../../backend/llm/hedge-budget.ts";
import { ProviderHealth } from "../../../backend/llm/provider-health.ts";
import { at, begins, ScriptedModel, type Step, says } from "../../support/scripted-model.ts";
import { answered, ask, askedPromptly, healthy, link, now } from "./manager-fixture.ts";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

const hedge = { afterMs: 100 };
const slow = (waitMs: number, ...script: Step[]) =>
  at("a", new ScriptedModel("a/slow", [{ waitMs }, ...(script.length > 0 ? script : says("Slow."))]));
const second = () => at("b", healthy("b/second"));

describe("a hedged request", () => {
  it("asks only the first model when that begins in time", async () => {
    const other = second();
    const { outcomes } = await answered([slow(99), other], { hedge });
    expect(outcomes).toEqual(["a/slow answered"]);
    expect(other.requests).toHaveLength(0);
  });

  it("asks the second, too, after the time, and takes the answer that begins first", async () => {
    const first = slow(900);
    const { outcomes, events, answer } = await answered([first, second()], { hedge });
    expect(outcomes).toEqual(["a/slow abandoned", "b/second answered"]);
    expect(answer.text).toBe("All is well.");
    expect(events.filter((event) => event.type === "restart")).toEqual([]);
    expect(first.signals[0]?.aborted).toBe(true);
  });

  it("closes the slower one's connection at once, and accounts for it apart", async () => {
    const first = slow(900);
    const { told, answer } = await answered([first, second()], { hedge });
    expect(told[0]?.attempt).toMatchObject({
      model: "a/slow",
      outcome: "abandoned",
      durationMs: 100,
      usage: { inputTokens: 1, outputTokens: 0, estimated: true },
    });
    expect(answer.usage).toEqual({ inputTokens: 3, outputTokens: 5 });
  });

  it("goes on with the first when that begins first after all", async () => {
    const late = at("b", new ScriptedModel("b/late", [{ waitMs: 500 }, ...says("Late.")]));
    const { outcomes } = await answered([slow(200), late], { hedge });
    expect(outcomes).toEqual(["b/late abandoned", "a/slow answered"]);
  });

  it.each([
    ["the first fails while both are asked", [slow(200, { fail: "provider-unavailable" }), second()]],
    ["the second fails at once", [slow(200), at("b", new ScriptedModel("b/m", [{ fail: "garbled" }]))]],
  ])("is answered by the other when %s", async (_, chain) => {
    const { answer, events } = await answered(chain, { hedge });
    expect(answer).not.toHaveProperty("degraded");
    expect(events.some((event) => event.type === "restart")).toBe(false);
  });

  it("goes back to the slower one when the quicker one breaks off", async () => {
    const cut = at("b", new ScriptedModel("b/cut", [begins("Half "), { fail: "truncated" }]));
    const { outcomes, answer } = await answered([slow(900), cut], { hedge });
    expect(outcomes).toEqual(["a/slow abandoned", "b/cut truncated", "a/slow answered"]);
    expect(answer.text).toBe("Slow.");
  });

  it("calls no model more often than its link allows", async () => {
    const first = slow(200, { fail: "provider-unavailable" });
    const other = at(
      "b",
      new ScriptedModel(
        "b/m",
        [{ waitMs: 500 }, { fail: "provider-unavailable" }],
        [{ fail: "provider-unavailable" }],
      ),
    );
    const { answer } = await answered([first, other], { hedge });
    expect(answer.degraded).toBe("preset-reply");
    expect([first.requests.length, other.requests.length]).toEqual([1, 2]);
  });

  it("is not made when the second model is left alone, or its host is busy, or there is none", async () => {
    const health = new ProviderHealth({ now, random: () => 0 });
    const dead = at("b", new ScriptedModel("b/dead", [{ fail: "model-not-found" }], says("never")));
    await askedPromptly([dead], { health });
    const gate = new ConcurrencyGate({ activeMax: 1, waitingMax: 5 });
    gate.tryEnter();
    for (const chain of [[slow(300), dead], [slow(300), link(second(), { gate })], [slow(300)]]) {
      const { outcomes } = await askedPromptly(chain, { hedge, health });
      expect(outcomes).toEqual(["a/slow answered"]);
    }
  });

  it("is made for no more than the named share of requests", async () => {
    const health = new ProviderHealth({ now, random: () => 0 });
    let hedged = 0;
    for (let request = 0; request < 100; request += 1) {
      const { outcomes } = await answered([slow(300), second()], { hedge, health });
      if (outcomes.length > 1) hedged += 1;
    }
    expect(hedged).toBeGreaterThan(0);
    expect(hedged).toBeLessThanOrEqual(1 + 100 * HEDGED_SHARE_MAX);
  });

  it("ends both calls when its caller leaves", async () => {
    const controller = new AbortController();
    const [first, other] = [slow(900), at("b", new ScriptedModel("b/silent", [{ silence: true }]))];
    const { ended, told } = ask([first, other], { hedge, signal: controller.signal });
    await vi.advanceTimersByTimeAsync(200);
    controller.abort("changed my mind");
    expect(await ended).toBe("changed my mind");
    await vi.advanceTimersByTimeAsync(0);
    expect([first, other].map(({ signals }) => signals[0]?.aborted)).toEqual([true, true]);
    expect(told).toHaveLength(2);
    expect(vi.getTimerCount()).toBe(0);
  });
});
