import { describe, expect, it } from "vitest";
import { ParleyError } from "../../../core/errors/parley-error.ts";

describe("an error that is said otherwise", () => {
  it("keeps what is not said again", () => {
    const error = new ParleyError("unavailable", "away", {
      reason: "asleep",
      retryable: true,
      retryAfterMs: 5,
      details: { a: 1 },
      cause: "a cause",
    });
    const { code, reason, retryable, retryAfterMs, details, message, cause } = error.with({
      message: "gone",
    });
    expect({ code, reason, retryable, retryAfterMs, details, message, cause }).toEqual({
      ...{ code: "unavailable", reason: "asleep", retryable: true, retryAfterMs: 5 },
      ...{ details: { a: 1 }, message: "gone", cause: "a cause" },
    });
  });

  it("has what is said in place of what it had, and nothing that neither says", () => {
    const bare = new ParleyError("internal", "broken").with({ details: { b: 2 } });
    expect(bare).toMatchObject({ code: "internal", message: "broken", retryable: false, details: { b: 2 } });
    expect([bare.reason, bare.retryAfterMs, bare.cause]).toEqual([undefined, undefined, undefined]);
    expect("cause" in bare).toBe(false);
  });
});
