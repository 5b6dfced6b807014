/** How much of a window a prompt may take. */
import { describe, expect, it } from "vitest";
import { contextTokensOf, promptTokensMax } from "../../../backend/llm/context-window.ts";

const link = (id: string, more: { contextTokens?: number; outputTokensMax?: number } = {}) => ({
  model: { id },
  parameters: { outputTokensMax: more.outputTokensMax },
  contextTokens: more.contextTokens,
});

describe("a model's window", () => {
  it.each([
    ["openai/gpt-5-mini", 400_000],
    ["openai/gpt-4.1-nano", 1_000_000],
    ["openai/gpt-4o", 128_000],
    ["openai/somebody-s-model", 8_192],
    ["ollama/llama3.2:3b", 8_192],
    ["builtin/extractive", Number.POSITIVE_INFINITY],
  ])("of %s is %d when its agent does not say", (id, tokens) => {
    expect(contextTokensOf(link(id))).toBe(tokens);
  });

  it("is what the agent says, be it more or less than is known", () => {
    expect(contextTokensOf(link("openai/gpt-4o", { contextTokens: 4_000 }))).toBe(4_000);
    expect(contextTokensOf(link("ollama/x", { contextTokens: 32_000 }))).toBe(32_000);
  });

  it("leaves room for the answer, but never all of it", () => {
    const promptTokens = (outputTokensMax?: number) =>
      promptTokensMax(
        link("openai/x", { contextTokens: 4_000, ...(outputTokensMax ? { outputTokensMax } : {}) }),
      );
    expect(promptTokens()).toBe(4_000 - 1_024);
    expect(promptTokens(500)).toBe(3_500);
    expect(promptTokens(100_000)).toBe(2_000);
    expect(promptTokensMax(link("openai/x", { contextTokens: 256 }))).toBe(128);
  });

  it("leaves a margin for other vocabularies than OpenAI's", () => {
    expect(promptTokensMax(link("ollama/x", { contextTokens: 4_000, outputTokensMax: 1_000 }))).toBe(2_600);
  });
});
