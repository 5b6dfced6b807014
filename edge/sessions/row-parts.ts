/** Texts that may be longer than a row of SQLite, in pieces that are not. */
import { ROW_CHARACTERS_MAX } from "./session-limits.ts";

/** The pieces, in order; at least one. No pair of surrogates is cut, as SQLite stores UTF-8. */
export function partsOf(text: string): [string, ...string[]] {
  const parts: string[] = [];
  for (let from = 0; from < text.length; ) {
    let to = Math.min(from + ROW_CHARACTERS_MAX, text.length);
    if (to < text.length && /[\uD800-\uDBFF]/.test(text[to - 1] ?? "")) to -= 1;
    parts.push(text.slice(from, to));
    from = to;
  }
  const [first = "", ...rest] = parts;
  return [first, ...rest];
}

/** The pieces that a query gives, in its order, put together again. */
export function joinParts(rows: { toArray(): { body: string }[] }): string {
  return rows
    .toArray()
    .map(({ body }) => body)
    .join("");
}

/** Whether a piece is so long that others may follow it. */
export function mayHaveMore(part: string): boolean {
  return part.length >= ROW_CHARACTERS_MAX - 1;
}
