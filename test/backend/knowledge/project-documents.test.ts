/** What is read of a project directory, and what is left alone. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import {
  DOCUMENT_BYTES_MAX,
  DOCUMENTS_MAX,
  readProjectDocuments,
} from "../../../backend/knowledge/project-documents.ts";

function project(files: Record<string, string>): string {
  const directory = mkdtempSync(join(tmpdir(), "parley-documents-"));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(directory, path)), { recursive: true });
    writeFileSync(join(directory, path), text);
  }
  return directory;
}

describe("readProjectDocuments", () => {
  it("reads the README and every Markdown file under docs, by path", async () => {
    const directory = project({
      "README.md": "readme",
      "docs/b.md": "b",
      "docs/a/deep/c.md": "c",
      "docs/image.png": "x",
      "CHANGELOG.md": "x",
      "src/x.md": "x",
      "node_modules/docs/x.md": "x",
    });
    expect(await readProjectDocuments(directory)).toEqual({
      documents: [
        { id: "README.md", text: "readme" },
        { id: "docs/a/deep/c.md", text: "c" },
        { id: "docs/b.md", text: "b" },
      ],
      skipped: [],
    });
  });

  it("leaves out the records of decisions, which tell why and not how, and does not call them skipped", async () => {
    const directory = project({
      "docs/decisions/2026-01-01-a.md": "x",
      "docs/decisions/deep/b.md": "x",
      "docs/decisions.md": "kept",
      "docs/guides/decisions/c.md": "kept",
    });
    const { documents, skipped } = await readProjectDocuments(directory);
    expect(documents.map(({ id }) => id)).toEqual(["docs/decisions.md", "docs/guides/decisions/c.md"]);
    expect(skipped).toEqual([]);
  });

  it("finds nothing where there is nothing", async () => {
    const nothing = { documents: [], skipped: [] };
    expect(await readProjectDocuments(project({}))).toEqual(nothing);
    expect(await readProjectDocuments("/does/not/exist")).toEqual(nothing);
  });

  it("skips what is too large or no file, and says so", async () => {
    const directory = project({
      "docs/at-limit.md": "x".repeat(DOCUMENT_BYTES_MAX),
      "docs/over.md": "x".repeat(DOCUMENT_BYTES_MAX + 1),
      "docs/folder.md/a.txt": "",
    });
    const { documents, skipped } = await readProjectDocuments(directory);
    expect(documents.map(({ id }) => id)).toEqual(["docs/at-limit.md"]);
    expect(skipped).toEqual(["docs/folder.md", "docs/over.md"]);
  });

  it("reads no more files than the limit", async () => {
    const names = Array.from(
      { length: DOCUMENTS_MAX + 1 },
      (_, i) => `docs/${String(i).padStart(4, "0")}.md`,
    );
    const directory = project(Object.fromEntries(names.map((name) => [name, "x"])));
    const { documents, skipped } = await readProjectDocuments(directory);
    expect(documents).toHaveLength(DOCUMENTS_MAX);
    expect(skipped).toEqual([names.at(-1)]);
  });
});
