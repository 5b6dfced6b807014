/** Passages of Markdown: where they begin and end, what stands above them, and what hostile text does to them. */
import { describe, expect, it } from "vitest";
import { HEADING_CHARACTERS_MAX } from "../../../backend/knowledge/document-structure.ts";
import { estimateTextTokens } from "../../../backend/knowledge/estimate-text-tokens.ts";
import { CHUNK_TOKENS_MAX, CHUNK_TOKENS_MIN } from "../../../backend/knowledge/pack-chunks.ts";
import { type MarkdownPassage, splitMarkdown } from "../../../backend/knowledge/split-markdown.ts";

/** Splits, and checks what holds for every passage of every document. */
function split(document: string): MarkdownPassage[] {
  const passages = splitMarkdown(document, "file.md");
  let previousEnd = 0;
  for (const { text, start, end } of passages) {
    expect(document.slice(start, end)).toBe(text);
    expect(text).toMatch(/[\p{L}\p{N}]/u);
    expect(start).toBeGreaterThanOrEqual(previousEnd);
    expect(estimateTextTokens(text)).toBeLessThanOrEqual(CHUNK_TOKENS_MAX);
    previousEnd = end;
  }
  return passages;
}

const texts = (document: string) => split(document).map(({ text }) => text);
const places = (document: string) =>
  split(document).map(({ headings, text }) => [...headings, text].join(" > "));

describe("splitMarkdown", () => {
  it("puts each passage under its headings, outermost first", () => {
    const document = "# Guide\nintro\n## A\na\n### B\nb\n## C\nc\n#### D\nd\n# E\ne\n";
    expect(places(document)).toEqual(["intro", "A > a", "A > B > b", "C > c", "C > D > d", "E > e"]);
    expect(new Set(split(document).map(({ title }) => title))).toEqual(new Set(["Guide"]));
  });

  it("takes the file's name for a document without a heading of level 1", () => {
    expect(split("## A\na")[0]).toMatchObject({ title: "file.md", headings: ["A"] });
  });

  it("knows headings in every form", () => {
    expect(
      places("  ## closed ##  \na\n\nUnderlined\n----------\nb\n\nAbove\n=====\nc\n## C# and F#\nd\n"),
    ).toEqual(["closed > a", "Underlined > b", "c", "C# and F# > d"]);
    expect(split("Above\n=====\nc")[0]?.title).toBe("Above");
  });

  it.each([
    ["a hash tag", "#tag\ntext"],
    ["too many hashes", "####### seven\ntext"],
    ["an indented line", "    # code\ntext"],
    ["a rule after a blank line", "text\n\n---\nmore"],
    ["a rule after a list", "- item\n---\nmore"],
    ["a rule after two lines", "one\ntwo\n---\nmore"],
  ])("does not take %s for a heading", (_, document) => {
    expect(split(document)).toHaveLength(1);
    expect(split(document)[0]?.headings).toEqual([]);
  });

  it.each([
    ["backticks", "```sh\n# not a heading\n```"],
    ["tildes", "~~~\n# not a heading\n```\n# nor this\n~~~"],
    ["a longer fence", "````\n```\n# not a heading\n```\n````"],
    ["an indented fence", "- item\n\n    ```\n    # not a heading\n    ```"],
    ["a fence that nothing closes", "```\n# not a heading\n\n## nor this"],
    ["a closing mark with text behind it", "```\n``` not closed\n# not a heading\n```"],
  ])("finds no heading in code fenced with %s", (_, code) => {
    expect(places(`## A\n${code}\n`)).toEqual([`A > ${code}`]);
  });

  it("does not take inline code for a fence", () => {
    expect(places("```inline```\n## A\na")).toEqual(["```inline```", "A > a"]);
  });

  it.each([
    ["code", "```\n", "line of code\n\n", "```"],
    ["a table", "| a | b |\n| --- | --- |\n", "| some words | and more of them |\n", "| end | end |"],
  ])(
    "keeps %s in one piece where it fits, and cuts it between lines where it does not",
    (_, head, line, tail) => {
      const whole = head + line.repeat(15) + tail;
      const paragraph = "Some words. ".repeat(70).trim();
      const around = texts(`${paragraph}\n\n${whole}\n\n${paragraph}`);
      expect(around.length).toBeGreaterThan(1);
      expect(around.filter((text) => text.includes(whole))).toHaveLength(1);
      const long = head + line.repeat(150) + tail;
      const pieces = texts(`before\n\n${long}\n\nafter`);
      expect(pieces.length).toBeGreaterThan(2);
      expect(pieces.slice(1).every((piece) => /^(?:\||line|```|after)/.test(piece))).toBe(true);
      expect(pieces.join("").replaceAll(/\s/g, "")).toBe(`before${long}after`.replaceAll(/\s/g, ""));
    },
  );

  it("joins paragraphs up to the limit, and into pieces of like length rather than full ones and a rest", () => {
    const paragraph = "Twelve words that say nothing are enough for one paragraph of text. ".repeat(5).trim();
    const tokens = estimateTextTokens(paragraph);
    const lengths = texts(Array(12).fill(paragraph).join("\n\n")).map((text) => estimateTextTokens(text));
    expect(12 * tokens).toBeGreaterThan(2 * CHUNK_TOKENS_MAX);
    expect(lengths.length).toBeGreaterThan(1);
    expect(Math.min(...lengths)).toBeGreaterThanOrEqual(CHUNK_TOKENS_MIN);
  });

  it.each([
    ["lines", "A line of a list.\n"],
    ["sentences", "A sentence of a long paragraph. "],
    ["words", "word "],
    ["anything", "x"],
  ])("cuts a paragraph that is too long at the end of %s", (_, piece) => {
    const document = piece.repeat(Math.ceil(9000 / piece.length)).trimEnd();
    const cut = texts(document);
    expect(cut.length).toBeGreaterThan(3);
    for (const text of cut) {
      expect(text.replaceAll(piece.trimEnd(), "").trim()).toBe("");
    }
  });

  it("never cuts a character of two code units in half", () => {
    const document = `a${"𝒳".repeat(3000)}`;
    expect(texts(document).join("")).toBe(document);
    for (const text of texts(document)) expect(text.isWellFormed()).toBe(true);
  });

  it("makes no passage of headings, rules and blank lines alone", () => {
    expect(texts("")).toEqual([]);
    expect(texts("# A\n\n## B\n\n---\n\n***\n  \n\t\n")).toEqual([]);
  });

  it("reads Windows line ends and a byte order mark", () => {
    const document = "\uFEFF# Title\r\n\r\ntext\r\n\r\nmore\r\n";
    expect(split(document)).toMatchObject([{ title: "Title", headings: [], text: "text\r\n\r\nmore" }]);
  });

  it("cuts long headings", () => {
    const [passage] = split(`# ${"t".repeat(1000)}\n## ${"h".repeat(1000)}\ntext`);
    expect(passage?.title).toHaveLength(HEADING_CHARACTERS_MAX);
    expect(passage?.headings[0]).toMatch(/^h+…$/);
  });

  it.each([
    ["one line", "x".repeat(1_000_000)],
    ["one line of words", "word ".repeat(200_000)],
    ["one line of spaces", `x${" ".repeat(1_000_000)}x`],
    ["one line of hashes", "#".repeat(1_000_000)],
    ["one heading of hashes and spaces", `# ${"# ".repeat(500_000)}`],
    ["one line of backticks", "`".repeat(1_000_000)],
    ["fences that do not close", "```\n".repeat(250_000)],
    ["fences that grow", Array.from({ length: 1400 }, (_, i) => "`".repeat(i + 3)).join("\n")],
    ["headings", "# a\nb\n".repeat(150_000)],
    ["underlines", "a\n--\n".repeat(200_000)],
    ["blank lines", "\n".repeat(1_000_000)],
    ["lone surrogates", "\ud83e".repeat(1_000_000)],
  ])("is fast on a megabyte of %s", (_, document) => {
    const startedAtMs = performance.now();
    splitMarkdown(document, "file.md");
    // Linear work takes well under a second; quadratic work on a megabyte would take hours.
    expect(performance.now() - startedAtMs).toBeLessThan(5_000);
  });
});
