/** What a chunk may be: its length, where it may end, what is before it, and that nothing of a text is lost. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { estimateTextTokens } from "../../../backend/knowledge/estimate-text-tokens.ts";
import { CHUNK_TOKENS_MAX, CHUNK_TOKENS_MIN } from "../../../backend/knowledge/pack-chunks.ts";
import { splitDocument } from "../../../backend/knowledge/split-document.ts";
import { PROJECT_DIRECTORY } from "../../support/project-files.ts";

const SENTENCE = "The gateway answers when a model does not, and says which one did. ";
const PARAGRAPH = SENTENCE.repeat(4).trim();

const textsOf = (text: string, format: "markdown" | "plain") =>
  splitDocument(text, format).chunks.map(({ start, end }) => text.slice(start, end));
const tokensOf = (text: string) => estimateTextTokens(text, 0, text.length);
const lettersOf = (text: string) => text.replaceAll(/[^\p{L}\p{N}]/gu, "");

describe("chunks", () => {
  it("have 256 to 400 tokens but for the last of a section, and are of about one length", () => {
    const lengths = textsOf(Array.from({ length: 40 }, () => PARAGRAPH).join("\n\n"), "plain").map(tokensOf);
    expect(lengths.length).toBeGreaterThan(5);
    for (const tokens of lengths) expect(tokens).toBeLessThanOrEqual(CHUNK_TOKENS_MAX);
    for (const tokens of lengths.slice(0, -1)) expect(tokens).toBeGreaterThanOrEqual(CHUNK_TOKENS_MIN);
  });

  it.each(readdirSync(join(PROJECT_DIRECTORY, "docs")).filter((name) => name.endsWith(".md")))(
    "of docs/%s are in order, do not overlap, are not too long, and leave no word out but headings",
    (name) => {
      const text = readFileSync(join(PROJECT_DIRECTORY, "docs", name), "utf8");
      const { chunks } = splitDocument(text, "markdown");
      let [position, left] = [0, ""];
      for (const { start, end } of chunks) {
        expect(start).toBeGreaterThanOrEqual(position);
        left += text.slice(position, start);
        position = end;
        expect(tokensOf(text.slice(start, end))).toBeLessThanOrEqual(CHUNK_TOKENS_MAX);
      }
      left += text.slice(position);
      const headings = text.split("\n").filter((line) => line.startsWith("#"));
      expect(lettersOf(left)).toBe(lettersOf(headings.join("")));
    },
  );

  it("have the headings above them, and the first as the title", () => {
    const text = "# Handbook\n\nHello.\n\n## Leave\n\nAsk.\n\n### Sick\n\nCall.\n\n## Pay\n\nMonthly.";
    const { title, chunks } = splitDocument(text, "markdown");
    expect(title).toBe("Handbook");
    expect(chunks.map(({ headings, start, end }) => [headings, text.slice(start, end)])).toEqual([
      [[], "Hello."],
      [["Leave"], "Ask."],
      [["Leave", "Sick"], "Call."],
      [["Pay"], "Monthly."],
    ]);
  });

  it("keep a block of code whole where it fits, and cut it at the end of a line where it does not", () => {
    const code = (lines: number) =>
      ["```ts", ...Array.from({ length: lines }, (_, n) => `const value${n} = ${n};`), "```"].join("\n");
    const short = code(20);
    const text = `${PARAGRAPH}\n\n${PARAGRAPH}\n\n${PARAGRAPH}\n\n${short}\n\n${PARAGRAPH}`;
    expect(textsOf(text, "markdown").filter((chunk) => chunk.includes(short))).toHaveLength(1);
    const parts = textsOf(code(400), "markdown");
    expect(parts.length).toBeGreaterThan(1);
    for (const part of parts) expect(part).toMatch(/(;|```)$/);
  });

  it("of a long paragraph end with a sentence, and of one long word never within a character", () => {
    for (const chunk of textsOf(SENTENCE.repeat(200), "plain")) expect(chunk).toMatch(/did\.$/);
    const word = "👩🏽‍🚀".repeat(3_000).replaceAll("🚀", "a🚀");
    for (const chunk of textsOf(word, "plain")) expect(chunk.isWellFormed()).toBe(true);
  });

  it.each(["", " \n\n ", "---\n\n***", "# Only a heading"])("of %j are none", (text) => {
    expect(splitDocument(text, "markdown").chunks).toEqual([]);
  });
});
