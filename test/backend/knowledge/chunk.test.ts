/** What identifies a chunk, and what of it is searched. */
import { describe, expect, it } from "vitest";
import { chunkId, embeddedText, hashContent } from "../../../backend/knowledge/chunk.ts";

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
});
