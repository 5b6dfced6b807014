import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { WorkerCache } from "../../scripts/worker-cache.ts";

let project: string;
const at = (...names: string[]) => join(project, ...names);

beforeEach(() => {
  project = mkdtempSync(join(tmpdir(), "parley-cache-"));
  onTestFinished(() => rmSync(project, { recursive: true }));
  for (const name of ["edge", "built"]) mkdirSync(at(name));
  writeFileSync(at("wrangler.toml"), 'main = "edge/index.ts"');
  writeFileSync(at("package-lock.json"), "{}");
  writeFileSync(at("edge", "index.ts"), "one");
  writeFileSync(at("edge", "other.ts"), "other");
});

/** As wrangler leaves it. */
function build(text: string, inputs = ["edge/index.ts", "edge/other.ts"]): void {
  writeFileSync(at("built", "index.js"), text);
  writeFileSync(at("built", "index.js.map"), `map of ${text}`);
  const metafile = at("built", "bundle-meta.json");
  writeFileSync(metafile, JSON.stringify({ inputs: Object.fromEntries(inputs.map((name) => [name, {}])) }));
  new WorkerCache(project, "wrangler.toml").keep({ path: at("built", "index.js"), metafile });
}
const restore = () => new WorkerCache(project, "wrangler.toml").restore(at("out"));
const cached = () => readdirSync(at("node_modules", ".cache", "parley"));

describe("a worker that was built before", () => {
  it("is there again, with its source map, as long as nothing has changed", () => {
    expect(restore()).toBe(false);
    build("worker");
    expect(restore()).toBe(true);
    expect(readFileSync(at("out", "index.js"), "utf8")).toBe("worker");
    expect(readFileSync(at("out", "index.js.map"), "utf8")).toBe("map of worker");
  });

  it.each(["edge/index.ts", "edge/other.ts", "wrangler.toml", "package-lock.json"])(
    "is built again when %s is another one, or gone",
    (name) => {
      build("worker");
      writeFileSync(at(name), "changed");
      expect(restore()).toBe(false);
      rmSync(at(name));
      if (name !== "wrangler.toml") expect(restore()).toBe(false);
    },
  );

  it("makes way for the next one, and nothing else is left of it", () => {
    build("worker");
    build("another worker");
    expect(restore()).toBe(true);
    expect(readFileSync(at("out", "index.js"), "utf8")).toBe("another worker");
    expect(cached()).toHaveLength(3);
  });

  it("is not kept when it is not known what it was built of", () => {
    build("worker", ["edge/index.ts", "virtual:module"]);
    expect(restore()).toBe(false);
  });

  it("is built again when the cache is damaged", () => {
    build("worker");
    for (const name of cached().filter((name) => name.endsWith(".js"))) {
      rmSync(at("node_modules", ".cache", "parley", name));
    }
    expect(restore()).toBe(false);
    for (const name of cached()) writeFileSync(at("node_modules", ".cache", "parley", name), "{");
    expect(restore()).toBe(false);
  });
});
