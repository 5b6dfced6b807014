/** JSON that PostgreSQL takes: its text has no NUL and no halves of surrogate pairs. */

/** Both, as JSON.stringify writes them. */
const UNSTORABLE_ESCAPES = /(?<!\\)((?:\\\\)*)\\u(?:0000|d[89a-f][0-9a-f]{2})/g;

/** The value as JSON; characters that PostgreSQL cannot hold become U+FFFD, one for one. */
export function storableJson(value: unknown): string {
  const json = JSON.stringify(value);
  return json.includes("\\u") ? json.replace(UNSTORABLE_ESCAPES, "$1\\ufffd") : json;
}
