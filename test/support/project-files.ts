/** The project's own files, for tests about how they are written: no dependencies, no generated code, no data. */
import { globSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The project's folder. */
export const PROJECT_DIRECTORY = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** The folders whose code is ours. */
export const ROOMS = ["backend", "core", "edge", "scripts", "test"] as const;

/** One of {@link ROOMS}. */
export type Room = (typeof ROOMS)[number];

/** A file of the project. */
export interface ProjectFile {
  /** From the project's folder, with slashes. */
  readonly path: string;
  /** The first folder of the path. */
  readonly room: string;
  readonly text: string;
}

/** The files that match one of the glob patterns, by path. */
export function projectFiles(...patterns: readonly string[]): ProjectFile[] {
  return globSync(patterns, { cwd: PROJECT_DIRECTORY, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) =>
      join(entry.parentPath, entry.name)
        .slice(PROJECT_DIRECTORY.length + 1)
        .replaceAll("\\", "/"),
    )
    .sort()
    .map((path) => ({
      path,
      room: path.split("/")[0] ?? "",
      text: readFileSync(join(PROJECT_DIRECTORY, path), "utf8"),
    }));
}

/** The modules that a file imports or exports from, as they are written. */
export function importedModules(text: string): string[] {
  const code = withoutComments(text);
  return [...code.matchAll(/(?:\bfrom|\bimport)\s*\(?\s*"([^"]+)"/g)].map(([, module]) => module ?? "");
}

/** The text without comments. Takes a `//` for a comment only at the start of a line or after a space. */
export function withoutComments(text: string): string {
  return text.replaceAll(/\/\*[\s\S]*?\*\//g, "").replaceAll(/(^|\s)\/\/.*$/gm, "$1");
}
