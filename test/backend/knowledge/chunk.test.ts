/** What identifies a chunk, and what of it is searched. */
import { describe, expect, it } from "vitest";
import { chunkId, embeddedText, hashContent, PATH_TOKENS_MAX } from "../../../backend/knowledge/chunk.ts";
import { estimateTextTokens } from "../../../backend/knowledge/estimate-text-tokens.ts";

describe("a chunk's id", () => {
  it("is the same for the same piece at the same place, and differs as soon as one of them does", () => {
    const id = chunkId("manual", hashContent("text"), 0);
    expect(id).toMatch(/^[0-9a-f]{32}$/);
    expect(chunkId("manual", hashContent("text"), 0)).toBe(id);
    const others = [
      chunkId("manual", hashContent("text"), 1),
      chunkId("manual", hashContent("Text"), 0),
      chunkId('manual","', hashContent("text"), 0),
    ];
    expect(new Set([id, ...others]).size).toBe(4);
  });
});

describe("what is embedded", () => {
  it("has the path of headings above the text, each once", () => {
    const headings = ["Manual", "Setup", "", "Linux"];
    expect(embeddedText({ title: "Manual", headings, text: "Run it." })).toBe(
      "Manual › Setup › Linux\n\nRun it.",
    );
    expect(embeddedText({ title: "", headings: [], text: "Run it." })).toBe("Run it.");
  });

  it("has of a long path the title and the inmost headings, and never more than its share of tokens", () => {
    const headings = ["outer", "middle", "inmost"].map((word) =>
      `${word} ${"of many words ".repeat(13)}`.trim(),
    );
    const [path] = embeddedText({ title: "Manual", headings, text: "Run it." }).split("\n\n");
    expect(path).toMatch(/^Manual › middle .* › inmost /);
    for (const part of ["words ".repeat(33), "知識".repeat(100), "🦙".repeat(100)]) {
      const all = { title: part, headings: [part, `${part}!`, `${part}?`], text: "Run it." };
      const [cut = "", text] = embeddedText(all).split("\n\n");
      expect(estimateTextTokens(cut)).toBeLessThanOrEqual(PATH_TOKENS_MAX);
      expect(cut.isWellFormed()).toBe(true);
      expect([cut.length > 20, text]).toEqual([true, "Run it."]);
    }
  });
});
