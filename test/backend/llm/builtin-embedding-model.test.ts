/** The embedding that needs no model. */
import { describe, expect, it } from "vitest";
import { BuiltinEmbeddingModel, embedLexically } from "../../../backend/llm/builtin-embedding-model.ts";

const model = new BuiltinEmbeddingModel();
const embed = (...texts: string[]) => model.embed(texts, new AbortController().signal);

function cosine(a: Float32Array, b: Float32Array): number {
  return a.reduce((sum, number, index) => sum + number * (b[index] ?? 0), 0);
}

describe("the builtin embedding", () => {
  it("gives every text a vector of 384 finite numbers and of length one", async () => {
    const texts = ["", " ", "?!", "the of and", "word", "知識は力なり", "x".repeat(100_000), "\ud800 half"];
    for (const vector of await embed(...texts)) {
      expect(vector).toHaveLength(384);
      expect(Math.hypot(...vector)).toBeCloseTo(1, 5);
    }
    expect(await embed()).toEqual([]);
  });

  it("gives the same text the same vector on every machine", () => {
    const vector = embedLexically("How do I configure Ollama?");
    const places = [...vector.entries()].filter(([, number]) => Math.abs(number) > 0.35);
    expect(places).toMatchInlineSnapshot(`
      [
        [
          97,
          -0.6072267889976501,
        ],
        [
          112,
          -0.6072267889976501,
        ],
      ]
    `);
  });

  it("puts texts that share words nearer than texts that do not, whatever their order and case", () => {
    const question = embedLexically("configure the Ollama server");
    const near = cosine(question, embedLexically("OLLAMA: its server is configured by OLLAMA_HOST"));
    const far = cosine(question, embedLexically("A recipe for pancakes with blueberries"));
    expect(near).toBeGreaterThan(far + 0.3);
  });

  it("puts forms of one word near each other", () => {
    const near = cosine(embedLexically("configuration"), embedLexically("configuring"));
    const far = cosine(embedLexically("configuration"), embedLexically("elephants"));
    expect(near).toBeGreaterThan(far + 0.2);
  });

  it("stops between texts when the signal aborts", async () => {
    const controller = new AbortController();
    const texts = new Array<string>(1_000).fill("word");
    setImmediate(() => controller.abort(new Error("enough")));
    await expect(model.embed(texts, controller.signal)).rejects.toThrow("enough");
  });
});
