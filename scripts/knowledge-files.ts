/** The documents under a directory: which files are read, as what, and under which id. */
import { readdir, readFile, stat } from "node:fs/promises";
import { extname, join } from "node:path";
import { DOCUMENT_BYTES_MAX } from "../core/knowledge/document-size.ts";
import { UsageError } from "./admin-command.ts";

/** More files than a collection takes. */
const FILES_MAX = 100_000;
/** Directories within directories; a deeper one is a loop or a mistake. */
const DEPTH_MAX = 64;

const MEDIA_TYPES: Readonly<Record<string, string>> = {
  ".htm": "text/html",
  ".html": "text/html",
  ".markdown": "text/markdown",
  ".md": "text/markdown",
  ".pdf": "application/pdf",
  ".text": "text/plain",
  ".txt": "text/plain",
  ".xhtml": "application/xhtml+xml",
};

/** A file to be read. */
export interface KnowledgeFile {
  readonly path: string;
  /** Its path from the directory, with slashes. */
  readonly id: string;
  readonly contentType: string;
}

/**
 * The files of a directory and of those in it, by id, and how many there are of each other extension, which are left
 * out, as are, without a word, hidden ones, `node_modules` and links.
 *
 * @throws UsageError when the directory cannot be read
 */
export async function findKnowledgeFiles(
  directory: string,
): Promise<{ files: KnowledgeFile[]; leftOut: ReadonlyMap<string, number> }> {
  const files: KnowledgeFile[] = [];
  const leftOut = new Map<string, number>();
  const walk = async (path: string, id: string, depth: number): Promise<void> => {
    for (const entry of await readdir(path, { withFileTypes: true })) {
      if (entry.name.startsWith(".") || entry.name === "node_modules") continue;
      const [childPath, childId] = [join(path, entry.name), id === "" ? entry.name : `${id}/${entry.name}`];
      const extension = extname(entry.name).toLowerCase();
      const contentType = MEDIA_TYPES[extension];
      if (entry.isDirectory() && depth < DEPTH_MAX) await walk(childPath, childId, depth + 1);
      else if (entry.isFile() && contentType) files.push({ path: childPath, id: childId, contentType });
      else if (entry.isFile()) leftOut.set(extension, (leftOut.get(extension) ?? 0) + 1);
      if (files.length > FILES_MAX) throw new UsageError(`${directory} has more than ${FILES_MAX} documents`);
    }
  };
  try {
    await walk(directory, "", 0);
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(`${directory} cannot be read: ${(error as Error).message}`);
  }
  return { files: files.toSorted((a, b) => (a.id < b.id ? -1 : 1)), leftOut };
}

/** Its content. @throws Error when it is larger than a document may be, or cannot be read */
export async function readKnowledgeFile({ path }: KnowledgeFile): Promise<Uint8Array> {
  const { size } = await stat(path);
  if (size > DOCUMENT_BYTES_MAX) throw new Error(`is larger than ${DOCUMENT_BYTES_MAX} bytes; divide it`);
  return readFile(path);
}
