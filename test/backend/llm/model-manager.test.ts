import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { LanguageModel, ModelFailureReason } from "../../../backend/llm/language-model.ts";
import { ANSWER_CHARACTERS_MAX } from "../../../backend/llm/model-attempt.ts";
import { ModelManager, PRESET_RESERVE_MS, RETRY_WAIT_MS_MAX } from "../../../backend/llm/model-manager.ts";
import { ProviderHealth } from "../../../backend/llm/provider-health.ts";
import { Deadline } from "../../../core/resilience/deadline.ts";
import { sleep } from "../../../core/resilience/full-jitter.ts";
import { modelRequest, neverAborted } from "../../support/model-events.ts";
import { begins, ScriptedModel, type Step, says } from "../../support/scripted-model.ts";
import { answered, ask, failing, healthy, link, now, PRESET } from "./manager-fixture.ts";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

describe("a model that answers", () => {
  it("is the only one asked, and its answer comes whole, with its name and its cost", async () => {
    const second = healthy();
    const { events, answer } = await answered([new ScriptedModel("a/first", says("Yes, it is.")), second]);
    expect(events.slice(0, -1)).toEqual(
      ["Yes, ", "it ", "is."].map((text) => ({ type: "text-delta", text })),
    );
    expect(answer).toEqual({
      text: "Yes, it is.",
      model: "a/first",
      finishReason: "stop",
      usage: { inputTokens: 3, outputTokens: 5 },
      attempts: [expect.objectContaining({ model: "a/first", outcome: "answered" })],
    });
    expect(second.requests).toHaveLength(0);
  });

  it("is given the request, its own parameters and the preset reply", async () => {
    const model = healthy();
    await answered([link(model, { parameters: { temperature: 0.3 } })], { presetReply: "Later." });
    expect(model.requests[0]).toEqual(
      modelRequest("Why?", { parameters: { temperature: 0.3 }, presetReply: "Later." }),
    );
  });

  it("is measured", async () => {
    const model = new ScriptedModel("a/slow", [{ waitMs: 300 }, begins("a"), { waitMs: 200 }, ...says("b")]);
    const { told } = await answered([model]);
    expect(told).toEqual([
      {
        attempt: {
          model: "a/slow",
          outcome: "answered",
          startedAfterMs: 0,
          durationMs: 500,
          firstTokenMs: 300,
          usage: { inputTokens: 3, outputTokens: 5 },
        },
        failure: undefined,
      },
    ]);
  });

  it("and does not say what it cost has its cost estimated", async () => {
    const { answer } = await answered([
      new ScriptedModel("a/m", [begins("12345678"), { type: "finish", reason: "stop" }]),
    ]);
    expect(answer.usage).toEqual({ inputTokens: 1, outputTokens: 2, estimated: true });
  });

  it("up to its output limit has answered", async () => {
    const { answer } = await answered([
      new ScriptedModel("a/m", [begins("a"), { type: "finish", reason: "length" }]),
    ]);
    expect(answer).toMatchObject({ text: "a", finishReason: "length" });
    expect(answer).not.toHaveProperty("degraded");
  });
});

describe("a failure before the first token", () => {
  it.each<[ModelFailureReason]>([["rate-limited"], ["provider-unavailable"]])(
    "of kind %s is tried again on the same model, after a wait with jitter",
    async (reason) => {
      const model = new ScriptedModel("a/once", [{ fail: reason }], says("Now it works."));
      const { outcomes, waits, events } = await answered([model, healthy()]);
      expect(outcomes).toEqual([`a/once ${reason}`, "a/once answered"]);
      expect(waits).toEqual([125]);
      expect(events.some((event) => event.type === "restart")).toBe(false);
    },
  );

  it.each<[ModelFailureReason]>([
    ["quota-exhausted"],
    ["provider-credentials"],
    ["model-not-found"],
    ["provider-refused"],
    ["first-token-timeout"],
    ["stalled"],
    ["garbled"],
  ])("of kind %s is not tried again: the next model answers at once", async (reason) => {
    const { outcomes, waits } = await answered([failing("a/m", reason), healthy()]);
    expect(outcomes).toEqual([`a/m ${reason}`, "b/healthy answered"]);
    expect(waits).toEqual([]);
  });

  it("is tried again no more often than the link allows", async () => {
    const model = failing("a/down", "provider-unavailable");
    const { outcomes, waits } = await answered([link(model, { attemptsMax: 4 }), healthy()]);
    expect(outcomes).toHaveLength(5);
    expect(waits).toEqual([125, 250, 500]);
  });

  it("waits at least as long as the provider asks", async () => {
    const model = new ScriptedModel("a/m", [{ fail: "rate-limited", retryAfterMs: 2_000 }], says("ok"));
    const { waits, outcomes } = await answered([model, healthy()], {}, () => 0);
    expect(waits).toEqual([2_000]);
    expect(outcomes).toEqual(["a/m rate-limited", "a/m answered"]);
  });

  it("whose wait would be too long goes to the next model instead", async () => {
    const model = new ScriptedModel(
      "a/m",
      [{ fail: "rate-limited", retryAfterMs: RETRY_WAIT_MS_MAX + 1 }],
      says("ok"),
    );
    const { waits, outcomes } = await answered([model, healthy()], {}, () => 0);
    expect({ waits, outcomes }).toEqual({ waits: [], outcomes: ["a/m rate-limited", "b/healthy answered"] });
  });

  it("whose wait does not fit into the deadline goes to the next model instead", async () => {
    const model = new ScriptedModel("a/m", [{ fail: "rate-limited", retryAfterMs: 900 }], says("ok"));
    const deadline = Deadline.after(1_000, now);
    const { waits, outcomes } = await answered([model, healthy()], { deadline }, () => 0);
    expect({ waits, outcomes }).toEqual({ waits: [], outcomes: ["a/m rate-limited", "b/healthy answered"] });
  });

  it("that is for good is not asked for again by a later link of the same model", async () => {
    const model = failing("a/m", "quota-exhausted");
    const { outcomes } = await answered([model, failing("b/m", "garbled"), model]);
    expect(outcomes).toEqual(["a/m quota-exhausted", "b/m garbled"]);
  });

  it("by silence costs its limit once", async () => {
    const silent = new ScriptedModel("a/silent", [{ silence: true }]);
    const { outcomes, told } = await answered([link(silent, { attemptsMax: 5 }), healthy()]);
    expect(outcomes).toEqual(["a/silent first-token-timeout", "b/healthy answered"]);
    expect(told[0]?.attempt.durationMs).toBe(1_000);
    expect(silent.signals[0]?.aborted).toBe(true);
  });
});

describe("a failure after text has gone out", () => {
  const cut = (id: string, reason: ModelFailureReason) =>
    new ScriptedModel(id, [begins("Half an "), { fail: reason }]);

  it.each<[ModelFailureReason]>([["truncated"], ["stalled"], ["garbled"], ["provider-unavailable"]])(
    "of kind %s is followed by a restart and the next model's whole answer",
    async (reason) => {
      const { events, answer, outcomes } = await answered([cut("a/cut", reason), healthy()]);
      expect(events.slice(0, 3)).toEqual([
        { type: "text-delta", text: "Half an " },
        { type: "restart", reason },
        { type: "text-delta", text: "All " },
      ]);
      expect(answer).toMatchObject({ text: "All is well.", model: "b/healthy" });
      expect(outcomes).toEqual([`a/cut ${reason}`, "b/healthy answered"]);
    },
  );

  it("is tried again on the same model when there is no other", async () => {
    const model = new ScriptedModel("a/once", [begins("Half"), { fail: "truncated" }], says("Whole."));
    const { events, outcomes } = await answered([model]);
    expect(outcomes).toEqual(["a/once truncated", "a/once answered"]);
    expect(events.filter((event) => event.type === "restart")).toEqual([
      { type: "restart", reason: "truncated" },
    ]);
  });

  it("restarts only before the next text, once for all that failed in between", async () => {
    const { events } = await answered([
      cut("a/cut", "truncated"),
      failing("c/m", "quota-exhausted"),
      healthy(),
    ]);
    expect(events.map((event) => event.type).filter((type) => type !== "text-delta")).toEqual([
      "restart",
      "finish",
    ]);
    expect(events[1]).toEqual({ type: "restart", reason: "truncated" });
  });

  it("restarts before the preset reply, too", async () => {
    const { events } = await answered([cut("a/cut", "stalled")]);
    expect(events.slice(0, 3)).toEqual([
      { type: "text-delta", text: "Half an " },
      { type: "restart", reason: "stalled" },
      { type: "text-delta", text: PRESET },
    ]);
  });

  it("counts what the failed call cost, estimated, but not as the answer's cost", async () => {
    const { answer } = await answered([cut("a/cut", "stalled"), healthy()]);
    expect(answer.attempts[0]?.usage).toEqual({ inputTokens: 1, outputTokens: 2, estimated: true });
    expect(answer.usage).toEqual({ inputTokens: 3, outputTokens: 5 });
  });
});

describe("a stream that ends well but is no answer", () => {
  it.each<[string, Step[], ModelFailureReason]>([
    ["without text", [{ type: "finish", reason: "stop" }], "empty-answer"],
    ["of nothing but blanks", [begins(" \n"), { type: "finish", reason: "stop" }], "empty-answer"],
    ["of a tool call that nobody offered", [{ type: "finish", reason: "tool-calls" }], "empty-answer"],
    ["that is too long", [begins("x".repeat(ANSWER_CHARACTERS_MAX + 1))], "answer-too-long"],
  ])("%s goes to the next model", async (_, script, reason) => {
    const { outcomes, answer } = await answered([new ScriptedModel("a/m", script), healthy()]);
    expect(outcomes).toEqual([`a/m ${reason}`, "b/healthy answered"]);
    expect(answer.text).toBe("All is well.");
  });

  it("is an answer at the longest length", async () => {
    const text = "x".repeat(ANSWER_CHARACTERS_MAX);
    expect((await answered([new ScriptedModel("a/m", says(text))])).answer.model).toBe("a/m");
  });
});

describe("the preset reply", () => {
  it("is given when every model has failed, marked as what it is", async () => {
    const chain = [failing("a/m", "provider-refused"), failing("b/m", "provider-credentials")];
    const { events, answer } = await answered(chain);
    expect(events[0]).toEqual({ type: "text-delta", text: PRESET });
    expect(answer).toMatchObject({
      text: PRESET,
      model: "preset",
      degraded: "preset-reply",
      finishReason: "stop",
      usage: { inputTokens: 0, outputTokens: 0 },
    });
    expect(answer.attempts).toHaveLength(2);
  });

  it("is given when there is no model, or no time", async () => {
    expect((await answered([])).answer.degraded).toBe("preset-reply");
    const model = healthy();
    const late = await answered([model], { deadline: Deadline.after(PRESET_RESERVE_MS, now) });
    expect(late.answer.degraded).toBe("preset-reply");
    expect(model.requests).toHaveLength(0);
  });

  it("comes before the deadline, whatever the limits of the models", async () => {
    const silent = new ScriptedModel("a/silent", [{ silence: true }]);
    const chatty = new ScriptedModel("b/stalls", [begins("a"), { silence: true }]);
    const limits = { firstTokenTimeoutMs: 60_000, idleTimeoutMs: 60_000 };
    for (const model of [silent, chatty]) {
      const deadline = Deadline.after(3_000, now);
      const { events, ended } = ask([link(model, limits), healthy()], { deadline });
      await vi.advanceTimersByTimeAsync(2_999);
      expect(await ended).toBeUndefined();
      expect(events.at(-1)).toMatchObject({ type: "finish", answer: { degraded: "preset-reply" } });
    }
  });
});

describe("the caller's abort", () => {
  const abortAfter = async (delayMs: number, chain: readonly LanguageModel[]) => {
    const controller = new AbortController();
    const { events, ended } = ask(chain, { signal: controller.signal });
    await vi.advanceTimersByTimeAsync(delayMs);
    controller.abort("changed my mind");
    return { events, error: await ended };
  };

  it("in the middle of an answer ends it with the signal's reason, without a preset reply", async () => {
    const model = new ScriptedModel("a/m", [begins("a"), { silence: true }]);
    const { events, error } = await abortAfter(10, [model, healthy()]);
    expect(error).toBe("changed my mind");
    expect(events).toEqual([{ type: "text-delta", text: "a" }]);
    expect(model.signals[0]?.aborted).toBe(true);
  });

  it("ends the wait between two attempts", async () => {
    const { events, error } = await abortAfter(50, [failing("a/m", "provider-unavailable")]);
    expect({ events, error }).toEqual({ events: [], error: "changed my mind" });
  });

  it("before the beginning asks no model", async () => {
    const model = healthy();
    for (const chain of [[model], []]) {
      const { events, ended } = ask(chain, { signal: AbortSignal.abort("gone") });
      expect(await ended).toBe("gone");
      expect(events).toEqual([]);
    }
    expect(model.requests).toHaveLength(0);
  });
});

it("ends the call when its consumer stops early, and leaves no timer behind", async () => {
  const model = new ScriptedModel("a/m", [begins("a"), { silence: true }]);
  const health = new ProviderHealth({ now, random: () => 0 });
  const manager = new ModelManager({ now, random: () => 0, sleep, health });
  const options = { chain: [link(model)], request: modelRequest("Why?"), presetReply: PRESET };
  const answer = manager.answer({
    ...options,
    deadline: Deadline.after(60_000, now),
    signal: neverAborted(),
  });
  for await (const _ of answer) break;
  expect(model.signals[0]?.aborted).toBe(true);
  expect(vi.getTimerCount()).toBe(0);
});
