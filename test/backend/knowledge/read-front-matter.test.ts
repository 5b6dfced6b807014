/** Front matter: the title in it, where it ends, and what only looks like it. */
import { describe, expect, it } from "vitest";
import { readFrontMatter } from "../../../backend/knowledge/read-front-matter.ts";
import { splitDocument } from "../../../backend/knowledge/split-document.ts";

const cut = (text: string, title?: string) => {
  const document = splitDocument(text, "markdown", title);
  const chunks = document.chunks.map(({ headings, start, end }) => [headings, text.slice(start, end)]);
  return { title: document.title, chunks };
};

describe("front matter", () => {
  it("gives the title when none was given, before the first heading, and is no passage", () => {
    const text = "---\ntitle: Leave policy\ntags: [a, b]\n---\n# Handbook\n\nAsk.";
    const chunks = [[["Handbook"], "Ask."]];
    expect(cut(text)).toEqual({ title: "Leave policy", chunks });
    expect(cut(text, "Given")).toEqual({ title: "Given", chunks });
    expect(cut(`\uFEFF${text.replaceAll("\n", "\r\n")}`)).toEqual({ title: "Leave policy", chunks });
  });

  it("without a title leaves it to the first heading", () => {
    expect(cut("---\nauthor: X\n...\n# Handbook\n\nAsk.")).toEqual({
      title: "Handbook",
      chunks: [[[], "Ask."]],
    });
  });

  it.each([
    ["title: Plain # comment", "Plain"],
    ["title: C# for all", "C# for all"],
    ["title: 2026", "2026"],
    [`"title": "Say \\"hi\\": now" # comment`, 'Say "hi": now'],
    ["title: 'It''s # one'", "It's # one"],
    ["# of the site\nTitle: >-\n  Folded\n  over lines\nauthor: X", "Folded over lines"],
    ["title: goes\n  on here", "goes on here"],
    ["author: X\nseo:\n  title: Other\ntitle: Own", "Own"],
    ["tags:\n- a\n- b\ntitle: After a list", "After a list"],
    ["title:", undefined],
    ["title: ''\nauthor: X", undefined],
    ["subtitle: X", undefined],
    ["seo:\n  title: Other", undefined],
    [`title: ${"x".repeat(300)}`, `${"x".repeat(199)}…`],
  ])("%j has the title %j", (fields, title) => {
    expect(readFrontMatter(`---\n${fields}\n---\nText`, 0)).toMatchObject({ title });
  });

  it.each([
    "\n---\ntitle: X\n---\nText",
    "Text\n\n---\ntitle: X\n---\n",
    "---\ntitle: X\n\nText without an end",
    "---\n\nA text between two lines: here.\nAnd more\n\n---\n",
    "---\nNote: here.\n\nAnd more\n---\n",
    "---\n- a list\n---\n",
  ])("is not %j, of which no word is lost", (text) => {
    expect(readFrontMatter(text, 0)).toBeUndefined();
    expect(cut(text).chunks.join("")).toMatch(/Text|more|list|X/);
  });

  it("is not longer than 1,000 lines", () => {
    const fieldsOf = (lines: number) => `---\n${"title: X\n".repeat(lines)}---\n`;
    expect(readFrontMatter(fieldsOf(1_000), 0)).toMatchObject({ title: "X" });
    expect(readFrontMatter(fieldsOf(1_001), 0)).toBeUndefined();
  });

  it("takes time linear in its length, whatever it holds", () => {
    const started = performance.now();
    for (const part of ['title: "\\', "title: 'a'", "title: a ", "a", " ", "---"])
      readFrontMatter(`---\ntitle: ${part.repeat(1_000_000)}\n---\n`, 0);
    expect(performance.now() - started).toBeLessThan(2_000);
  });
});
