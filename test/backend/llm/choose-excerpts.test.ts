/** What of a passage is quoted: where it begins and ends, what it must have in it, and what it never exceeds. */
import { describe, expect, it } from "vitest";
import { chooseExcerpts, EXCERPT_CHARACTERS_MAX } from "../../../backend/llm/choose-excerpts.ts";

const FILLER = "Nothing of interest stands here, and it goes on for a while. ";

/** The excerpt of one passage. */
function excerpt(question: string, text: string): string {
  return chooseExcerpts(question, [text])[0] ?? "";
}

function table(
  rowsCount: number,
  row: (index: number) => string,
  head = "| Code | Means |\n|---|---|",
): string {
  return [head, ...Array.from({ length: rowsCount }, (_, index) => row(index))].join("\n");
}

describe("an excerpt", () => {
  it("is the whole passage where that fits, and ends before the limit where it does not", () => {
    const fitting = "x".repeat(EXCERPT_CHARACTERS_MAX);
    expect(excerpt("Why?", ` \r\n${fitting}\n`)).toBe(fitting);
    expect(excerpt("Why?", `${fitting}x`)).toBe(`${fitting.slice(2)} …`);
  });

  it("begins with the passage when the question has no term of it", () => {
    for (const question of ["", "Why?", "zebra"]) {
      expect(excerpt(question, FILLER.repeat(20))).toMatch(/^Nothing of .* a while\. …$/);
    }
  });

  it("has the sentence with the question's terms, wherever it stands, and whole sentences around it", () => {
    const told = "A revoked key is refused within 60 s. ";
    for (const before of [0, 1, 9, 19, 20]) {
      const text = `${FILLER.repeat(before)}${told}${FILLER.repeat(20 - before)}`;
      const quoted = excerpt("How do I revoke a key?", text);
      expect(quoted).toContain(told.trim());
      expect(quoted).toMatch(before === 0 ? /^A revoked/ : /^(?:… )?Nothing/);
      expect(quoted).toMatch(before === 20 ? /60 s\.$/ : /a while\.(?: …)?$/);
      expect(quoted.length).toBeLessThanOrEqual(EXCERPT_CHARACTERS_MAX);
      expect(quoted.length).toBeGreaterThan(EXCERPT_CHARACTERS_MAX - FILLER.length);
    }
  });

  it("prefers the rare term to the common one, by all passages", () => {
    const common = "The error is common. ";
    const text = `${common.repeat(8)}${FILLER.repeat(20)}The quota is 429. ${FILLER.repeat(3)}`;
    const [quoted] = chooseExcerpts("What does error 429 mean?", [text, common.repeat(3)]);
    expect(quoted).toContain("The quota is 429.");
  });

  it("compares names with digits whole, and words by their beginnings", () => {
    const text = `ERR-47110 is not it. ${FILLER.repeat(20)}ERR-4711 is it. ${FILLER.repeat(20)}`;
    expect(excerpt("ERR-4711", text)).toContain("ERR-4711 is it.");
    expect(excerpt("configured", `${FILLER.repeat(20)}Configure it so.`)).toMatch(/Configure it so\.$/);
  });

  it("begins with a whole list item, apart from the ellipsis", () => {
    const text = Array.from({ length: 30 }, (_, index) => `- **Item ${index}.** Some words that tell of it.`);
    const quoted = excerpt("item 20", text.join("\n"));
    expect(quoted).toMatch(/^…\n\n- \*\*Item 1\d\.\*\* /);
    expect(quoted).toContain("- **Item 20.**");
    expect(quoted).toMatch(/of it\. …$/);
  });

  it("of a list keeps numbers with what they number", () => {
    const text = Array.from(
      { length: 30 },
      (_, index) => `${index + 1}. Step number ${index + 50} is this one.`,
    );
    expect(excerpt("step 70", text.join("\n"))).toMatch(/^…\n\n\d+\. Step number /);
  });

  it("of a table has its header, the row with the terms, and marks where rows are left out", () => {
    const text = `${FILLER}\n\n${table(40, (index) => `| ${400 + index} | what this one means |`)}\n\n${FILLER}`;
    const quoted = excerpt("What does error 429 mean?", text);
    expect(quoted).toMatch(/^…\n\n\| Code \| Means \|\n\|---\|---\|\n\| … \|\n\| 4\d\d \| /);
    expect(quoted).toContain("\n| 429 | what this one means |\n");
    expect(quoted).toMatch(/\|\n\| … \|$/);
    expect(quoted.length).toBeLessThanOrEqual(EXCERPT_CHARACTERS_MAX);
  });

  it("of a table's beginning has the header once and no mark above it", () => {
    const text = table(40, (index) => `| ${400 + index} | what this one means |`);
    expect(excerpt("What does error 400 mean?", text)).toMatch(
      /^\| Code \| Means \|\n\|---\|---\|\n\| 400 \| .*\| … \|$/s,
    );
  });

  it("of code stands under the fence that opens it", () => {
    const lines = Array.from({ length: 60 }, (_, index) => `run --step ${index + 100}`).join("\n");
    const quoted = excerpt("step 130", `Do this:\n\n\`\`\`sh\n${lines}\n\`\`\``);
    expect(quoted).toMatch(/^…\n\n```sh\n…\nrun --step 1\d\d\n/);
    expect(quoted).toContain("run --step 130\n");
  });

  it("never exceeds its length, with a sentence, row or header of any length", () => {
    const long = "word ".repeat(300);
    const texts = [
      `${long}needle ${long}`,
      "x".repeat(5_000),
      table(30, () => `| ${long} needle ${long} |`),
      table(30, (index) => `| ${index} | needle |`, `| ${long} |\n|---|`),
      table(9, () => `| ${"y ".repeat(198)} |`, `| ${"z".repeat(170)} |\n|---|`),
      `\`\`\`${"z".repeat(170)}\n${`${"needle ".repeat(56)}\n`.repeat(9)}`,
      `${"\n".repeat(3_000)}${" ".repeat(3_000)}|${"\n|".repeat(3_000)}`,
      "🎉".repeat(2_000),
    ];
    for (const text of texts) {
      const quoted = excerpt("needle y z", text);
      expect(quoted.length).toBeLessThanOrEqual(EXCERPT_CHARACTERS_MAX);
      expect(quoted.length).toBeGreaterThan(100);
      expect(quoted.isWellFormed()).toBe(true);
    }
  });

  it("of sentences without spaces between them begins with one of them", () => {
    const text = `${"这里没有什么有趣的事情。".repeat(60)}密钥被撤销。${"这里没有什么有趣的事情。".repeat(60)}`;
    expect(excerpt("撤销密钥", text)).toMatch(/^… 这里.*密钥被撤销。.*。 …$/);
  });

  it("is the same every time", () => {
    const texts = [FILLER.repeat(30), `${FILLER.repeat(9)}Interest stands. `.repeat(5)];
    const first = chooseExcerpts("interest stands while", texts);
    expect(chooseExcerpts("interest stands while", texts)).toEqual(first);
  });

  it("is found within a moment in the longest chunk, when every line has a term", () => {
    const text = "- needle\n".repeat(1_500);
    expect(excerpt("needle needles", text)).toMatch(/^- needle\n.*needle …$/s);
  }, 2_000);
});
