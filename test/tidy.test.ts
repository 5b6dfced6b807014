/** Holds the code to what `style.md` says and a machine can check, so that nobody has to remember it. */
import { existsSync, globSync } from "node:fs";
import { dirname, join, posix } from "node:path";
import { pathToFileURL } from "node:url";
import { describe, expect, it } from "vitest";
import {
  importedModules,
  PROJECT_DIRECTORY,
  type ProjectFile,
  projectFiles,
  ROOMS,
  type Room,
  withoutComments,
} from "./support/project-files.ts";

/** What each room may import from. */
const IMPORTS_ALLOWED: Record<Room, readonly string[]> = {
  core: ["core", "proto"],
  edge: ["edge", "core", "proto"],
  backend: ["backend", "core", "proto"],
  scripts: ["scripts", "backend", "edge", "core", "proto"],
  test: ["test", "scripts", "backend", "edge", "core", "proto"],
};
/** Rooms that run where there is no Node. */
const PLATFORM_FREE: readonly string[] = ["core", "edge"];

const LINES_MAX = 300;
const TEST_LINES_MAX = 500;
/** Files that may be longer, by path: how long, and why. */
const LONGER_FILES: Readonly<Record<string, { linesMax: number; reason: string }>> = {};

const KEBAB_CASE = /^[a-z0-9]+(?:-[a-z0-9]+)*(?:\.[a-z0-9]+(?:-[a-z0-9]+)*)*$/;
/** Migrations are named by their number, as is the custom of SQL. */
const NAMES_EXEMPT = /^(?:README\.md|\d{4}_[a-z0-9_]+\.sql)$/;
const NAMES_FORBIDDEN = /^(?:utils?|helpers?|common)(?:\.|$)/;

const PATH_EXTENSIONS = /\.(?:capnp|css|html|js|json|jsonc|md|mjs|proto|sh|sql|toml|ts|txt|ya?ml)$/;
/** Made when the project runs or is built, or a folder within the data directory; not in the repository. */
const GENERATED = /^(?:\.parley|\.wrangler|coverage|dist|logs|node_modules)\//;

const sources = projectFiles(...ROOMS.map((room) => `${room}/**/*.{ts,mts,tsx,js,mjs,sh}`));
/** Records of decisions are never rewritten; what they cite may be gone since. */
const documents = projectFiles("README.md", "docs/**/*.md").filter(
  ({ path }) => !path.startsWith("docs/decisions/"),
);

/** Names the files that break a rule; passes when there is none. */
function expectNone(offenders: readonly string[]): void {
  expect(offenders).toEqual([]);
}

/** The top folders of the project that a file imports from. */
function importedRooms({ path, text }: ProjectFile): string[] {
  return importedModules(text)
    .filter((module) => module.startsWith("."))
    .map((module) => posix.join(posix.dirname(path), module).split("/")[0] ?? "");
}

describe("imports", () => {
  it.each(ROOMS)("of %s point one way", (room) => {
    expectNone(
      sources
        .filter((file) => file.room === room)
        .flatMap((file) => importedRooms(file).map((imported) => ({ path: file.path, imported })))
        .filter(({ imported }) => !IMPORTS_ALLOWED[room].includes(imported))
        .map(({ path, imported }) => `${path} imports from ${imported}/`),
    );
  });

  it("of core and edge need no Node", () => {
    const portable = sources.filter(({ room }) => PLATFORM_FREE.includes(room));
    expectNone(
      portable.flatMap(({ path, text }) => [
        ...importedModules(text)
          .filter((module) => module.startsWith("node:"))
          .map((module) => `${path} imports ${module}`),
        ...[...withoutComments(text).matchAll(/\bprocess\.|\bBuffer\b/g)].map(
          ([use]) => `${path} uses ${use}`,
        ),
      ]),
    );
  });
});

describe("files", () => {
  it("are short", () => {
    const limitOf = (path: string) =>
      LONGER_FILES[path]?.linesMax ?? (path.startsWith("test/") ? TEST_LINES_MAX : LINES_MAX);
    expectNone(
      sources
        .map(({ path, text }) => ({ path, lines: text.split("\n").length - 1 }))
        .filter(({ path, lines }) => lines > limitOf(path))
        .map(({ path, lines }) => `${path} has ${lines} lines; ${limitOf(path)} are allowed`),
    );
  });

  it("that are excused for their length exist and still need it", () => {
    const excused = Object.keys(LONGER_FILES);
    const long = sources
      .filter(({ text }) => text.split("\n").length - 1 > LINES_MAX)
      .map(({ path }) => path);
    expectNone(excused.filter((path) => !long.includes(path)));
  });

  it("and folders have kebab-case names that say what is in them", () => {
    const names = [...ROOMS, "docs"].flatMap((room) =>
      globSync(`${room}/**`, { cwd: PROJECT_DIRECTORY }).map((path) => path.replaceAll("\\", "/")),
    );
    expectNone(
      names.filter((path) => {
        const name = posix.basename(path);
        return NAMES_FORBIDDEN.test(name) || !(KEBAB_CASE.test(name) || NAMES_EXEMPT.test(name));
      }),
    );
  });

  it("open with a comment that says what they own", () => {
    expectNone(
      sources
        .filter(({ room }) => room !== "test")
        .filter(({ path, text }) => !text.startsWith(path.endsWith(".sh") ? "#" : "/"))
        .map(({ path }) => path),
    );
  });
});

/** The paths among the inline code of a document. */
function citedPaths({ text }: ProjectFile): string[] {
  const prose = text.replaceAll(/^ *(```|~~~)[\s\S]*?^ *\1/gm, "");
  return [...prose.matchAll(/`([^`\s]+)`/g)]
    .map(([, code]) => code ?? "")
    .filter((code) => code.includes("/") && (code.endsWith("/") || PATH_EXTENSIONS.test(code)))
    .filter((code) => /^[\w.]/.test(code) && !code.includes("://") && !/[{}<>$…:]/.test(code))
    .filter((code) => !GENERATED.test(code));
}

/** Paths are cited from the project's folder, or from the document's own. */
function isCitedPath(path: string, document: string): boolean {
  return [PROJECT_DIRECTORY, join(PROJECT_DIRECTORY, dirname(document))].some((folder) =>
    path.includes("*") ? globSync(path, { cwd: folder }).length > 0 : existsSync(join(folder, path)),
  );
}

describe("documentation", () => {
  it.skipIf(documents.length === 0)("cites only paths that exist", () => {
    expectNone(
      documents.flatMap((document) =>
        citedPaths(document)
          .filter((path) => !isCitedPath(path, document.path))
          .map((path) => `${document.path} cites ${path}`),
      ),
    );
  });
});

/** The files that read the environment; each exports its list of variables under a name that ends in `_VARIABLES`. */
const CONFIGURATION_FILES = ["backend/config.ts", "edge/env.ts", "scripts/start-settings.ts"];

async function variablesOf(path: string): Promise<string[]> {
  const module: Record<string, unknown> = await import(pathToFileURL(join(PROJECT_DIRECTORY, path)).href);
  const list = Object.entries(module).find(([name]) => name.endsWith("_VARIABLES"))?.[1];
  if (typeof list !== "object" || list === null) throw new Error(`${path} exports no list of its variables`);
  return Array.isArray(list) ? list : Object.keys(list);
}

describe(".env.example", () => {
  const [example] = projectFiles(".env.example");

  it.skipIf(!example)("lists exactly the variables that the programs know", async () => {
    const present = CONFIGURATION_FILES.filter((path) => existsSync(join(PROJECT_DIRECTORY, path)));
    const known = new Set((await Promise.all(present.map(variablesOf))).flat());
    const listed = [...(example?.text ?? "").matchAll(/^(?:# ?)?([A-Z][A-Z0-9_]*)=/gm)].map(
      ([, name]) => name ?? "",
    );
    expect(listed.toSorted()).toEqual([...known].toSorted());
  });
});
