/** What counts as a term of a text. */
import { describe, expect, it } from "vitest";
import { isStopWord, tokenizeText } from "../../../backend/knowledge/tokenize-text.ts";

describe("tokenizeText", () => {
  it.each([
    ["Retries, RETRY; retry's", ["retry", "retry", "retry", "s"]],
    ["OPENAI_API_KEY=sk-1", ["openai", "api", "key", "sk", "1"]],
    ["backend/main.ts:80", ["backend", "main", "ts", "80"]],
    ["Größe ŻÓŁĆ cafe\u0301", ["größe", "żółć", "café"]],
    ["ﬁle ２０２６", ["file", "2026"]],
    ["网关gRPC管理", ["网", "关", "grpc", "管", "理"]],
    ["— … 🦢 —", []],
    ["", []],
  ])("finds the terms of %j", (text, terms) => {
    expect(tokenizeText(text)).toEqual(terms);
  });

  it.each([
    ["keys", "key"],
    ["queries", "query"],
    ["messages", "message"],
    ["caches", "cache"],
    ["class", "class"],
    ["status", "status"],
    ["goes", "goes"],
    ["its", "its"],
  ])("makes %s singular: %s", (word, term) => {
    expect(tokenizeText(word)).toEqual([term]);
  });

  it("leaves out what is too long for a word, in linear time", () => {
    expect(tokenizeText(`a ${"x".repeat(1_000_000)} ${"y".repeat(64)} ${"z".repeat(65)} b`)).toEqual([
      "a",
      "y".repeat(64),
      "b",
    ]);
  });
});

describe("isStopWord", () => {
  it("knows function words in the form that terms have, and single characters", () => {
    for (const term of tokenizeText("what is this, does it, THANKS 2 + x"))
      expect(isStopWord(term), term).toBe(true);
    for (const term of tokenizeText("gateway 42 网")) expect(isStopWord(term), term).toBe(false);
  });
});
