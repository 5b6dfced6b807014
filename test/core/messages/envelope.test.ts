/** The envelope's JSON and shorthand: what is taken, and what is said of what is not. */
import { describe, expect, it } from "vitest";
import { envelopeFromJsonText, envelopeToJson, requireContent } from "../../../core/messages/envelope.ts";

const read = (value: unknown) => envelopeFromJsonText(JSON.stringify(value));
const nested = (depth: number): unknown => (depth === 0 ? 1 : { a: nested(depth - 1) });

describe("envelopes from JSON", () => {
  it("take the text shorthand for a content of one text part", () => {
    const message = read({ receiverId: "echo", text: "hi" });
    expect(requireContent(message).parts[0]?.content).toEqual({ case: "text", value: "hi" });
  });

  it("take snake_case and ignore fields they do not know", () => {
    expect(read({ receiver_id: "echo", context_id: "c", text: "hi", colour: "red" })).toMatchObject({
      receiverId: "echo",
      contextId: "c",
    });
  });

  it("come back as they went out", () => {
    const json = envelopeToJson(
      read({ receiverId: "echo", content: { parts: [{ text: "a" }, { data: { b: 1 } }] } }),
    );
    expect(json).toMatchObject({ receiverId: "echo", text: "a" });
    expect(envelopeToJson(read(json))).toEqual(json);
  });

  it.each([
    ["nothing", "", /not JSON: it is empty/],
    ["half an object", '{"text":', /not JSON/],
    ["binary", "\u0000\u0001", /not JSON/],
    ["an array", "[]", /must be a JSON object/],
    ["null", "null", /must be a JSON object/],
    ["a number for text", '{"text":5}', /wrong shape.*text/],
    ["an unknown role of body", '{"content":{"parts":"x"}}', /wrong shape/],
    ["two bodies", '{"delta":"a","cancel":{}}', /wrong shape/],
    [
      "text beside another body",
      '{"text":"a","content":{"parts":[{"text":"b"}]}}',
      /either `text` or a body/,
    ],
    ["JSON nested too deep", JSON.stringify({ metadata: nested(33) }), /nested deeper than 32/],
    [
      "JSON nested absurdly deep",
      `{"a":${"[".repeat(200_000)}${"]".repeat(200_000)}}`,
      /nested deeper|not JSON/,
    ],
  ])("refuse %s and say why", (_, text, problem) => {
    expect(() => envelopeFromJsonText(text)).toThrow(problem);
  });

  it("take JSON nested as deep as the limit", () => {
    expect(() => read({ metadata: nested(31) })).not.toThrow();
  });
});

describe("content", () => {
  it.each([
    ["no body", { receiverId: "echo" }],
    ["a body that is no content", { receiverId: "echo", delta: "x" }],
    ["no parts", { receiverId: "echo", content: { parts: [] } }],
    ["blank text", { receiverId: "echo", text: " \n\t" }],
    ["an empty file", { receiverId: "echo", content: { parts: [{ raw: "" }] } }],
    [
      "too many metadata fields",
      {
        receiverId: "echo",
        text: "x",
        metadata: Object.fromEntries(Array.from({ length: 65 }, (_, index) => [`f${index}`, 1])),
      },
    ],
  ])("is refused with %s", (_, json) => {
    expect(() => requireContent(read(json))).toThrow();
  });

  it.each([
    ["data", { content: { parts: [{ data: Number.MAX_VALUE }] } }],
    ["a part's metadata", { content: { parts: [{ text: "x", metadata: { a: Number.MAX_VALUE } }] } }],
    ["metadata", { text: "x", metadata: { a: Number.MAX_VALUE } }],
  ])("is refused with a number in %s that JSON cannot say back", (_, json) => {
    const text = JSON.stringify({ receiverId: "echo", ...json }).replace(/1\.79\d*e\+308/, "1e999");
    expect(text).toContain("1e999");
    expect(() => requireContent(envelopeFromJsonText(text))).toThrow(/must be JSON|wrong shape/);
  });

  it("may be data or a file without any text", () => {
    expect(() => requireContent(read({ content: { parts: [{ data: {} }] } }))).not.toThrow();
    expect(() => requireContent(read({ content: { parts: [{ raw: "AA==" }] } }))).not.toThrow();
  });
});
