/** What is read from wrangler's files. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { findBundle, readCompatibility } from "../../scripts/wrangler.ts";
import { createDataDirectory } from "./start-fixture.ts";

describe("readCompatibility", () => {
  it("reads date and flags", () => {
    expect(
      readCompatibility('name = "x"\ncompatibility_date = "2026-11-01"\ncompatibility_flags = ["a", "b"]\n'),
    ).toEqual({ compatibilityDate: "2026-11-01", compatibilityFlags: ["a", "b"] });
  });

  it("takes no flags for none, and insists on a date", () => {
    expect(readCompatibility('compatibility_date = "2026-11-01"').compatibilityFlags).toEqual([]);
    expect(() => readCompatibility('# compatibility_date = "2026-11-01"')).toThrow("no compatibility_date");
  });
});

describe("findBundle", () => {
  it("finds the one module and its sizes", () => {
    const directory = createDataDirectory();
    for (const name of ["index.js.map", "README.md"]) writeFileSync(join(directory, name), "x");
    expect(() => findBundle(directory)).toThrow("found 0");
    writeFileSync(join(directory, "index.js"), "a".repeat(10_000));
    const bundle = findBundle(directory);
    expect(bundle).toMatchObject({ path: join(directory, "index.js"), bytes: 10_000 });
    expect(bundle.gzipBytes).toBeLessThan(100);
    writeFileSync(join(directory, "other.js"), "");
    expect(() => findBundle(directory)).toThrow("found 2");
  });
});
