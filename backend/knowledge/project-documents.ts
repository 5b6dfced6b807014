/**
 * The project's own documentation as knowledge: README.md and the Markdown under docs/, but for the records of
 * decisions. It is what the agent `guide` answers from, so that a fresh installation can explain itself.
 */
import { glob, readFile, stat } from "node:fs/promises";
import { join } from "node:path";

/** The collection, visible to every tenant. */
export const PROJECT_COLLECTION = "parley-docs";

/** More files than any documentation that is read in one sitting; the rest is left out. */
export const DOCUMENTS_MAX = 200;
/** A larger file is not prose. */
export const DOCUMENT_BYTES_MAX = 256 * 1024;

const PATTERNS = ["README.md", "docs/**/*.md"];
/** Records say why something was decided, in the words of who asks how it is used, and may be out of date. */
const RECORDS_FOLDER = "docs/decisions/";

/** A document of the project. */
export interface ProjectDocument {
  /** Its path from the project's directory, with slashes. */
  readonly id: string;
  /** Markdown. */
  readonly text: string;
}

/** What was read, and what was not. */
export interface ProjectDocuments {
  /** By id (the path from the project directory, with slashes), sorted. */
  readonly documents: readonly ProjectDocument[];
  /** Ids of files left out because of {@link DOCUMENTS_MAX}, {@link DOCUMENT_BYTES_MAX} or a failure to read. */
  readonly skipped: readonly string[];
}

/** Reads the documentation under a directory; files that do not exist are simply not there. Never throws. */
export async function readProjectDocuments(directory: string): Promise<ProjectDocuments> {
  const ids: string[] = [];
  for await (const path of glob(PATTERNS, { cwd: directory })) {
    const id = path.replaceAll("\\", "/");
    if (!id.startsWith(RECORDS_FOLDER)) ids.push(id);
  }
  const documents: ProjectDocument[] = [];
  const skipped: string[] = [];
  for (const id of ids.sort()) {
    const text = documents.length < DOCUMENTS_MAX ? await readDocument(join(directory, id)) : undefined;
    if (text === undefined) skipped.push(id);
    else documents.push({ id, text });
  }
  return { documents, skipped };
}

/** A missing, unreadable, oversized or special file is undefined: documentation is worth no failed start. */
async function readDocument(path: string): Promise<string | undefined> {
  try {
    const file = await stat(path);
    return file.isFile() && file.size <= DOCUMENT_BYTES_MAX ? await readFile(path, "utf8") : undefined;
  } catch {
    return undefined;
  }
}
