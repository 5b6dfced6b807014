import { describe, expect, it } from "vitest";
import { parameterText } from "../../../backend/stores/parameter-text.ts";

describe("parameterText", () => {
  it.each([
    [null, null],
    ["text", "text"],
    [1.5, "1.5"],
    [false, "false"],
    [{ a: [1] }, '{"a":[1]}'],
    [[], "{}"],
    [["a", 'b"c', "d\\e", "", "NULL", null], '{"a","b\\"c","d\\\\e","","NULL",NULL}'],
    [[[1, 2], [3]], '{{"1","2"},{"3"}}'],
    [[{ a: "b" }], '{"{\\"a\\":\\"b\\"}"}'],
  ])("writes %j as %s", (value, text) => {
    expect(parameterText(value)).toBe(text);
  });
});
