/** Cursors of lists: the name that the next page begins after, in a form that nobody takes for a name. */
import { ParleyError } from "../../core/errors/parley-error.ts";

/** A cursor for the page after this name. */
export function encodeCursor(name: string): string {
  return Buffer.from(name).toString("base64url");
}

/** The name; empty for the first page. @throws ParleyError `invalid_argument` */
export function decodeCursor(cursor: string): string {
  const name = Buffer.from(cursor, "base64url").toString();
  const isOurs = encodeCursor(name) === cursor && !name.includes("\0");
  if (isOurs) return name;
  throw new ParleyError("invalid_argument", "cursor: must be `nextCursor` of an earlier page");
}
