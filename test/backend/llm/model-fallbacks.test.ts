/** Which model answers when one refuses: texts that are too long, and content that is not allowed. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { AnswerOptions } from "../../../backend/llm/answer-event.ts";
import { ProviderHealth } from "../../../backend/llm/provider-health.ts";
import { modelRequest } from "../../support/model-events.ts";
import { at, begins, ScriptedModel } from "../../support/scripted-model.ts";
import { answered, ask, askedPromptly, failing, healthy, link, now } from "./manager-fixture.ts";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

/** The error that the caller gets, and what was tried before it. */
async function refused(...args: Parameters<typeof ask>) {
  const { told, events, ended } = ask(...args);
  await vi.advanceTimersByTimeAsync(200_000);
  const error = await ended;
  return { error, events, outcomes: told.map(({ attempt }) => `${attempt.model} ${attempt.outcome}`) };
}

const tooLong = (id = "a/small") => failing(id, "context-window");
const notAllowed = (id = "a/strict") => failing(id, "content-policy");

describe("a text that is too long", () => {
  it("is asked of the fallbacks for long texts, after exactly one try, not of the rest of the chain", async () => {
    const rest = healthy("b/rest");
    const fields = { contextWindowFallbacks: [link(healthy("c/large"))] };
    const { outcomes } = await answered([tooLong(), rest], fields);
    expect(outcomes).toEqual(["a/small context-window", "c/large answered"]);
    expect(rest.requests).toHaveLength(0);
  });

  it("is asked of one fallback after the other", async () => {
    const fields = { contextWindowFallbacks: [link(tooLong("c/large")), link(healthy("d/larger"))] };
    const { outcomes } = await answered([tooLong()], fields);
    expect(outcomes).toEqual(["a/small context-window", "c/large context-window", "d/larger answered"]);
  });

  it("is asked of those of the chain that say they take more, when there are no fallbacks", async () => {
    const chain = [
      link(tooLong(), { contextTokens: 4_096 }),
      link(healthy("b/same"), { contextTokens: 4_096 }),
      link(healthy("c/unknown")),
      link(healthy("d/large"), { contextTokens: 32_768 }),
    ];
    const { outcomes } = await answered(chain);
    expect(outcomes).toEqual(["a/small context-window", "d/large answered"]);
  });

  it("is asked of those that take more than was asked, when the model that refused says nothing", async () => {
    const request = modelRequest("x".repeat(4_000));
    const chain = [
      link(tooLong()),
      link(healthy("b/small"), { contextTokens: 1_000 }),
      link(healthy("c/large"), { contextTokens: 1_001 }),
    ];
    expect((await answered(chain, { request })).outcomes).toEqual([
      "a/small context-window",
      "c/large answered",
    ]);
  });

  it("is told to the caller as its own mistake when no model takes more", async () => {
    const { error, events, outcomes } = await refused([tooLong(), healthy("b/same")]);
    expect(error).toMatchObject({ code: "invalid_argument", reason: "context-window", retryable: false });
    expect(events).toEqual([]);
    expect(outcomes).toEqual(["a/small context-window"]);
  });

  it("gets the preset reply when the model that might take it is away: it may be back soon", async () => {
    const fields = { contextWindowFallbacks: [link(failing("c/large", "provider-unavailable"))] };
    expect((await answered([tooLong()], fields)).answer.degraded).toBe("preset-reply");
  });

  it("gets the preset reply when the larger model is left alone at the moment", async () => {
    const health = new ProviderHealth({ now, random: () => 0 });
    const large = at("host", failing("b/large", "model-not-found"));
    await askedPromptly([large], { health });
    const chain = [link(large, { contextTokens: 9_000 }), link(tooLong(), { contextTokens: 100 })];
    const { answer, outcomes } = await askedPromptly(chain, { health });
    expect(outcomes.slice(0, 2)).toEqual(["b/large circuit-open", "a/small context-window"]);
    expect(answer?.degraded).toBe("preset-reply");
  });
});

it("a text that is too long gets the preset reply when its fallback is left alone and stays away", async () => {
  const health = new ProviderHealth({ now, random: () => 0 });
  const large = at("host", failing("b/large", "model-not-found"));
  await askedPromptly([large], { health });
  const fields = { health, contextWindowFallbacks: [link(large, { attemptsMax: 1 })] };
  const { answer, outcomes } = await askedPromptly([tooLong()], fields);
  expect(outcomes.slice(0, 2)).toEqual(["a/small context-window", "b/large circuit-open"]);
  expect(answer?.degraded).toBe("preset-reply");
});

describe("a content that is not allowed", () => {
  it("is asked of the fallbacks for it, after exactly one try, not of the rest of the chain", async () => {
    const rest = healthy("b/rest");
    const fields = { contentPolicyFallbacks: [link(healthy("c/lenient"))] };
    const { outcomes } = await answered([notAllowed(), rest], fields);
    expect(outcomes).toEqual(["a/strict content-policy", "c/lenient answered"]);
    expect(rest.requests).toHaveLength(0);
  });

  it("is told to the caller, with the provider's code, when nobody else is to be asked", async () => {
    const { error, events, outcomes } = await refused([notAllowed(), healthy("b/rest")]);
    expect(error).toMatchObject({
      code: "failed_precondition",
      reason: "content-policy",
      details: { providerCode: "unspecified" },
    });
    expect(events).toEqual([]);
    expect(outcomes).toEqual(["a/strict content-policy"]);
  });

  it("is told to the caller when the fallbacks refuse it, too, or fail", async () => {
    for (const fallback of [notAllowed("c/m"), failing("c/m", "quota-exhausted")]) {
      const { error } = await refused([notAllowed()], { contentPolicyFallbacks: [link(fallback)] });
      expect(error).toMatchObject({ reason: "content-policy" });
    }
  });

  it("that is found in the middle of an answer is no answer: what was said is void", async () => {
    const filtered = new ScriptedModel("a/m", [begins("I "), { type: "finish", reason: "content-filter" }]);
    const alone = await refused([filtered, healthy()]);
    expect(alone.error).toMatchObject({
      reason: "content-policy",
      details: { providerCode: "content_filter" },
    });
    const fields: Partial<AnswerOptions> = { contentPolicyFallbacks: [link(healthy("c/m"))] };
    const { events, answer } = await answered([filtered], fields);
    expect(events[1]).toEqual({ type: "restart", reason: "content-policy" });
    expect(answer.text).toBe("All is well.");
  });

  it("and the other kind of fallback come together, each at most once", async () => {
    const fields = {
      contextWindowFallbacks: [link(notAllowed("b/large"))],
      contentPolicyFallbacks: [link(tooLong("c/lenient")), link(healthy("d/last"))],
    };
    const { outcomes } = await answered([tooLong()], fields);
    expect(outcomes).toEqual([
      "a/small context-window",
      "b/large content-policy",
      "c/lenient context-window",
      "d/last answered",
    ]);
  });
});
