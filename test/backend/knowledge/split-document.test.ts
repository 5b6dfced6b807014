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

  it("do not reach over the empty lines of a long gap", () => {
    expect(textsOf(`one${"\n".repeat(100_000)}two`, "plain")).toEqual(["one", "two"]);
    const short = Array.from({ length: 2_000 }, (_, n) => `a${n}`).join("\n\n\n");
    for (const chunk of textsOf(short, "plain"))
      expect(tokensOf(chunk)).toBeLessThanOrEqual(CHUNK_TOKENS_MAX);
  });

  it("of a long paragraph end with a sentence, and of one long word never within a character", () => {
    for (const chunk of textsOf(SENTENCE.repeat(200), "plain")) expect(chunk).toMatch(/did\.$/);
    const word = "👩🏽‍🚀".repeat(3_000).replaceAll("🚀", "a🚀");
    for (const chunk of textsOf(word, "plain")) expect(chunk.isWellFormed()).toBe(true);
  });

  it.each(["", " \n\n ", "---\n\n***", "#\n\n---\n##", "---\ntitle: X\n---\n"])("of %j are none", (text) => {
    expect(splitDocument(text, "markdown").chunks).toEqual([]);
  });
});

const cutOf = (text: string, title?: string) =>
  splitDocument(text, "markdown", title).chunks.map(({ headings, start, end }) => [
    headings,
    text.slice(start, end),
  ]);

describe("headings that no text follows", () => {
  it("are a chunk where a document has nothing else, its title included", () => {
    const text =
      "# What is the frabjous limit?\n## Forty two calloohs\n# Who owns callay?\n\n## Team Tulgey\n";
    expect(cutOf(text)).toEqual([[[], text.trimEnd()]]);
    expect(cutOf("Only a heading\n===")).toEqual([[[], "Only a heading\n==="]]);
    expect(cutOf("# Only a heading", "Given")).toEqual([[[], "# Only a heading"]]);
  });

  it("are chunks of bounded length, however many there are, each word in one of them", () => {
    const text = Array.from({ length: 3_000 }, (_, n) => `# H${n}`).join("\n\n");
    const chunks = textsOf(text, "markdown");
    for (const chunk of chunks) expect(tokensOf(chunk)).toBeLessThanOrEqual(CHUNK_TOKENS_MAX);
    expect(lettersOf(chunks.join(""))).toBe(lettersOf(text));
    expect(chunks.filter((chunk) => /\bH1500\b/.test(chunk))).toHaveLength(1);
  });

  it("stand apart from text, under the headings that they have in common; those over text are not repeated", () => {
    const text = [
      ...["# Handbook", "## Leave", "### Sick", "Call.", "### Parental", "### Sabbatical"],
      ...["## Pay", "## Travel", "### By train", "---", "### By air", "Ask."],
    ];
    expect(cutOf(text.join("\n\n"))).toEqual([
      [["Leave", "Sick"], "Call."],
      [["Leave"], "### Parental\n\n### Sabbatical"],
      [[], "## Pay"],
      [["Travel"], "### By train\n\n---"],
      [["Travel", "By air"], "Ask."],
    ]);
  });

  it("are no reason to repeat a title that text goes with", () => {
    expect(cutOf("# Handbook\n# Leave\n\nAsk.\n# Pay")).toEqual([
      [["Leave"], "Ask."],
      [[], "# Pay"],
    ]);
  });

  it("do not make a chunk of the text without words between them", () => {
    const text = `# A\n\n${"-".repeat(30_000)}\n\n${"***\n\n".repeat(150_000)}# B`;
    const chunks = textsOf(text, "markdown");
    expect(lettersOf(chunks.join(""))).toBe("AB");
    for (const chunk of chunks) expect(chunk.length).toBeLessThan(20_000);
  });
});

describe("no heading's words are lost", () => {
  it("when the document's title was given another way", () => {
    const text = "# Leave policy\n\nAsk.\n\n## Sick\n\nCall.";
    expect(cutOf(text, "Handbook")).toEqual([
      [["Leave policy"], "Ask."],
      [["Leave policy", "Sick"], "Call."],
    ]);
    expect(cutOf(text, "Leave policy")).toEqual(cutOf(text));
  });

  it("when it is too long for a heading, such as a paragraph of one line over a line", () => {
    const text = `${SENTENCE.repeat(6)}\n---\nAsk.`;
    expect(cutOf(text)).toEqual([[[expect.stringMatching(/…$/)], text]]);
  });
});
