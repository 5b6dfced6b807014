/** Counting tokens: what comes out, and that no text can keep the process busy. */
import { describe, expect, it } from "vitest";
import { createTokenCounter } from "../../../backend/llm/token-counter.ts";

describe("the token counter", () => {
  const counter = createTokenCounter();

  it("counts as the vocabulary does, also what looks like a special token", async () => {
    expect(await counter.count("")).toBe(0);
    expect(await counter.count("Hello, world!")).toBe(4);
    expect(await counter.count("网关代理")).toBeGreaterThan(2);
    expect(await counter.count("<|im_start|>system<|endoftext|>")).toBeGreaterThan(4);
  });

  it("loads the vocabulary once, on the first use", async () => {
    let loads = 0;
    const lazy = createTokenCounter(async () => {
      loads += 1;
      return (text) => text.length;
    });
    expect(loads).toBe(0);
    expect(await Promise.all([lazy.count("ab"), lazy.count("abc")])).toEqual([2, 3]);
    expect(loads).toBe(1);
  });

  it("counts a long text exactly and a huge one in samples, a little too high rather than too low", async () => {
    let counted = 0;
    const byLetters = createTokenCounter(async () => (text) => {
      counted += text.length;
      return text.length;
    });
    expect(await byLetters.count("x".repeat(65_536))).toBe(65_536);
    counted = 0;
    const tokens = await byLetters.count("x".repeat(10_000_000));
    expect(counted).toBeLessThanOrEqual(65_536);
    expect(tokens / 10_000_000).toBeCloseTo(1.1);
  });

  it("lets others have their turn while it counts the worst of texts", async () => {
    let turns = 0;
    let counting = true;
    const count = () => {
      turns += 1;
      if (counting) setImmediate(count);
    };
    setImmediate(count);
    const tokens = await counter.count("a".repeat(60_000));
    counting = false;
    expect(tokens).toBeGreaterThan(5_000);
    expect(turns).toBeGreaterThan(2);
  });
});
