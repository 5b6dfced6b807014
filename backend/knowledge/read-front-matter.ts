/**
 * The YAML block that many tools put before a Markdown document (`---`, fields, `---`): where it ends, and the title
 * in it. Reads no other field, and of YAML only what a title is written with.
 */
import { cutHeading, linesOf } from "./document-structure.ts";

/** A front matter, read. */
export interface FrontMatter {
  /** Where the document goes on: after the line that closes the block, UTF-16 code units. */
  readonly end: number;
  /** Undefined without one. */
  readonly title: string | undefined;
}

/** A longer block is not what a tool has written; two thematic breaks far apart are not one. */
const LINES_MAX = 1_000;
const OPENING = /^---[ \t\r]*$/;
const CLOSING = /^(?:---|\.\.\.)[ \t\r]*$/;
const FIELD = /^["']?[\p{L}_][\p{L}\p{N}_.-]{0,63}["']?[ \t]*:(?:\s|$)/u;
/** What else can stand at the beginning of a line: an item of a field above, the end of its list or object. */
const ITEM = /^(?:-\s|[\]}])/;
const TITLE = /^(["']?)title\1[ \t]*:(?:\s|$)/i;
const LEFT_OUT = /^\s*(?:#|$)/;
const CONTINUED = /^[ \t]/;
/** `>-` or `|`: the value is in the lines below. */
const BLOCK_SCALAR = /^[>|][+-]?\d?[+-]?(?:\s|$)/;

/**
 * The front matter at `start`; undefined when what is there is not one: it is not closed, or is not made of fields, as
 * a text between two thematic breaks.
 */
export function readFrontMatter(text: string, start: number): FrontMatter | undefined {
  const lines: string[] = [];
  let isOpen = false;
  for (const { start: lineStart, end } of linesOf(text, start)) {
    const line = text.slice(lineStart, end);
    if (!isOpen && !OPENING.test(line)) return undefined;
    if (isOpen && CLOSING.test(line)) return hasFields(lines) ? { end, title: titleIn(lines) } : undefined;
    if (isOpen) lines.push(line);
    if (lines.length > LINES_MAX) return undefined;
    isOpen = true;
  }
  return undefined;
}

function hasFields(lines: readonly string[]): boolean {
  const outer = lines.filter((line) => !LEFT_OUT.test(line) && !CONTINUED.test(line));
  return FIELD.test(outer[0] ?? "") && outer.every((line) => FIELD.test(line) || ITEM.test(line));
}

function titleIn(lines: readonly string[]): string | undefined {
  const at = lines.findIndex((line) => TITLE.test(line));
  if (at === -1) return undefined;
  const after = lines.findIndex((line, index) => index > at && line.trim() !== "" && !CONTINUED.test(line));
  const value = [
    (lines[at] ?? "").replace(TITLE, ""),
    ...lines.slice(at + 1, after === -1 ? undefined : after),
  ];
  const joined = value.map((line) => line.trim()).join(" ");
  return cutHeading(scalar(joined.trim())) || undefined;
}

/** A value without its quotes, or its comment. */
function scalar(value: string): string {
  if (BLOCK_SCALAR.test(value)) return value.replace(BLOCK_SCALAR, "");
  const quoted = /^"((?:[^"\\]|\\.)*)"|^'((?:[^']|'')*)'/.exec(value);
  if (quoted?.[2] !== undefined) return quoted[2].replaceAll("''", "'");
  if (quoted?.[1] !== undefined) return quoted[1].replaceAll(/\\(["\\/])/g, "$1");
  return value.replace(/(?:^|\s)#.*$/, "");
}
