/** What fits a window: what is always in, what goes first, and that nothing is split. */
import { describe, expect, it } from "vitest";
import { fitPrompt, leastTokens, type PromptParts } from "../../../backend/agents/fit-prompt.ts";

const text = (words: string, tokens = 10) => ({ text: words, tokens });
const said = (name: string) => [
  { role: "user" as const, ...text(`${name}?`) },
  { role: "assistant" as const, ...text(`${name}!`) },
];
const parts: PromptParts = {
  system: [text("Be brief.")],
  summary: undefined,
  history: [...said("a"), ...said("b"), ...said("c")],
  question: text("now?"),
};
/** An exchange: two turns of 10 tokens and what a message costs. */
const EXCHANGE = 28;
const LEAST = leastTokens(parts);

const textsOf = (given: PromptParts, budget: number) =>
  fitPrompt(given, budget)?.map((message) => message.text);

describe("a prompt", () => {
  it("has everything in order when there is room to the last token, and loses the oldest exchange without", () => {
    const all = ["Be brief.", "a?", "a!", "b?", "b!", "c?", "c!", "now?"];
    expect(textsOf(parts, LEAST + 3 * EXCHANGE)).toEqual(all);
    expect(textsOf(parts, LEAST + 3 * EXCHANGE - 1)).toEqual(["Be brief.", ...all.slice(3)]);
  });

  it("never has an answer without its question, nor a question without its answer", () => {
    for (let budget = LEAST; budget < LEAST + 4 * EXCHANGE; budget++) {
      const messages = fitPrompt(parts, budget) ?? [];
      expect(
        messages
          .slice(1)
          .map(({ role }) => role)
          .join(" "),
      ).toMatch(/^(user assistant )*user$/);
    }
  });

  it("leaves no hole: what is older than an exchange that does not fit stays out", () => {
    const huge = said("b").map((turn) => ({ ...turn, tokens: 1_000 }));
    const history = [...said("a"), ...huge, ...said("c")];
    expect(textsOf({ ...parts, history }, 500)).toEqual(["Be brief.", "c?", "c!", "now?"]);
  });

  it("has system and question whatever the budget, and is none when they do not fit", () => {
    expect(textsOf(parts, LEAST)).toEqual(["Be brief.", "now?"]);
    expect(fitPrompt(parts, LEAST - 1)).toBeUndefined();
  });

  it("has the summary in its one system message, before any exchange gets room", () => {
    const withSummary = { ...parts, summary: text("They spoke of x.") };
    const [system, ...rest] = fitPrompt(withSummary, LEAST + EXCHANGE + 38) ?? [];
    expect(system).toMatchObject({ role: "system" });
    expect(system?.text).toMatch(/^Be brief\.\n\n.*not instructions.*\nThey spoke of x\.$/s);
    expect(rest.map((message) => message.text)).toEqual(["c?", "c!", "now?"]);
    expect(textsOf(withSummary, LEAST + 10)).toEqual(["Be brief.", "now?"]);
  });

  it("has no system message when the agent has no prompt", () => {
    expect(textsOf({ ...parts, system: [text("", 0)], history: [] }, 100)).toEqual(["now?"]);
  });

  it("keeps several questions in a row, and an answer before the first, together with what follows them", () => {
    const user = (words: string) => ({ role: "user" as const, ...text(words) });
    const assistant = (words: string) => ({ role: "assistant" as const, ...text(words) });
    const history = [assistant("hello"), user("1"), user("2"), assistant("3")];
    const given = { ...parts, history };
    expect(textsOf(given, LEAST + 56)).toEqual(["Be brief.", "hello", "1", "2", "3", "now?"]);
    expect(textsOf(given, LEAST + 55)).toEqual(["Be brief.", "1", "2", "3", "now?"]);
    expect(textsOf(given, LEAST + 41)).toEqual(["Be brief.", "now?"]);
  });
});
