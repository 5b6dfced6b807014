/** What is said of documents and filters that are not taken: what is wrong, and what would be right. */
import { describe, expect, it } from "vitest";
import { checkDocument } from "../../../backend/knowledge/document-input.ts";
import { metadataFilterSchema } from "../../../backend/knowledge/metadata-filter.ts";
import { validate } from "../../../core/administration/violations.ts";
import { ParleyError } from "../../../core/errors/parley-error.ts";

function refusal(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof ParleyError) return `${error.message} ${JSON.stringify(error.details)}`;
    throw error;
  }
  throw new Error("it was taken");
}

describe("a filter that is none is refused with the forms that there are", () => {
  it.each([
    [{ field: "year", in: "2026" }],
    [{ field: "year" }],
    [{ field: "year", equals: 1, in: [1] }],
    [{ field: "year", like: "2%" }],
    [{ field: "year", equals: null }],
    [{ field: "year", equals: {} }],
  ])("%j", (condition) => {
    const said = refusal(() => validate(metadataFilterSchema, [condition]));
    expect(said).toContain("0");
    expect(said).toMatch(/equals.*in.*1 to 100 values.*range.*512 characters/);
  });

  it("or, where the form is clear, with what is wrong in it", () => {
    const said = (condition: object) => refusal(() => validate(metadataFilterSchema, [condition]));
    expect(said({ field: "a b", equals: 1 })).toMatch(/0\.field.*1 to 64 of A-Z/);
    expect(said({ field: "year", equals: "x".repeat(513) })).toMatch(/0\.equals.*512 characters/);
  });
});

describe("metadata that cannot be kept is refused with what can", () => {
  const put = (metadata: unknown) => () =>
    checkDocument({ id: "a", title: "", contentType: "text/plain", bytes: new Uint8Array(1), metadata });

  it.each([[null], [{}], [[1]]])("a value %j", (value) => {
    expect(refusal(put({ a: value }))).toMatch(
      /metadata\.a.*a text of up to 512 characters, a number or a boolean/,
    );
  });

  it.each(["a b", "", "1a", "x".repeat(65)])("a name %j", (name) => {
    expect(refusal(put({ [name]: 1 }))).toMatch(/metadata.*1 to 64 of A-Z a-z 0-9/);
  });
});
