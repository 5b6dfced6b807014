import { describe, expect, it } from "vitest";
import { BuiltinLanguageModel } from "../../../backend/llm/builtin-language-model.ts";
import {
  collect,
  failureOf,
  modelRequest,
  neverAborted,
  passage,
  textOf,
} from "../../support/model-events.ts";

const model = new BuiltinLanguageModel();

async function answer(...passages: ReturnType<typeof passage>[]) {
  const request = modelRequest("How does it work?", { passages, presetReply: "Later." });
  return collect(model.stream(request, neverAborted()));
}

describe("the builtin model", () => {
  it("says what it is", () => {
    expect(model.id).toBe("builtin/extractive");
  });

  it("gives the preset reply when there is no passage", async () => {
    expect(textOf(await answer())).toBe("Later.");
    expect(textOf(await answer(passage({ text: " \n " })))).toBe("Later.");
  });

  it("quotes passages and cites them by number, with document and heading", async () => {
    const text = textOf(
      await answer(
        passage({
          text: "First line.\nSecond line.",
          title: "Guide",
          headings: ["Guide", "Install"],
          documentId: "docs/guide.md",
        }),
        passage({ text: "Other.", title: "FAQ", headings: [], documentId: "faq" }),
      ),
    );
    expect(text).toBe(
      [
        "These passages fit the question best:",
        "> First line.\n> Second line.",
        "[1] Guide › Install (docs/guide.md)",
        "> Other.",
        "[2] FAQ (faq)",
      ].join("\n\n"),
    );
  });

  it("quotes three at most, the best ones", async () => {
    const five = ["one", "two", "three", "four", "five"].map((text) => passage({ text }));
    const text = textOf(await answer(...five));
    expect(text.match(/^> .*$/gm)).toEqual(["> one", "> two", "> three"]);
  });

  it("keeps a passage within its quotation, whatever lines it has", async () => {
    const text = textOf(await answer(passage({ text: "a\n\n# not a heading\r\nb", title: "x\n# y" })));
    expect(text).toContain("> a\n>\n> # not a heading\n> b\n\n[1] x # y");
  });

  it("streams in pieces, none of them empty, and says what it estimates", async () => {
    const events = await answer(passage({ text: "word ".repeat(40) }));
    const pieces = events.filter((event) => event.type === "text-delta");
    expect(pieces.length).toBeGreaterThan(3);
    expect(pieces.every((piece) => piece.text.length > 0)).toBe(true);
    expect(events.slice(-2)).toEqual([
      { type: "usage", usage: { inputTokens: 5, outputTokens: expect.any(Number), estimated: true } },
      { type: "finish", reason: "stop" },
    ]);
  });

  it("stops when its signal aborts", async () => {
    const stream = model.stream(modelRequest("Why?"), AbortSignal.abort("gone"));
    expect((await failureOf(stream)).error).toBe("gone");
  });
});
