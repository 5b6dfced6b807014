/** The size that the built worker is held to. */
import { describe, expect, it } from "vitest";
import { BUNDLE_GZIP_BYTES_MAX, describeBundle, fitsBudget } from "../../scripts/bundle-budget.ts";

describe("the budget of the bundle", () => {
  it("holds at the limit and not over it", () => {
    const atLimit = { bytes: 1_048_576, gzipBytes: BUNDLE_GZIP_BYTES_MAX };
    const over = { bytes: 1_048_576, gzipBytes: BUNDLE_GZIP_BYTES_MAX + 1 };
    expect(fitsBudget(atLimit)).toBe(true);
    expect(describeBundle(atLimit)).toBe(
      "worker bundle: 1024.0 KiB, 300.0 KiB gzip, within the budget of 300.0 KiB gzip",
    );
    expect(fitsBudget(over)).toBe(false);
    expect(describeBundle(over)).toContain("OVER the budget");
  });
});
