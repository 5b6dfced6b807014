/** JSON from strangers: parsed, and no deeper than code that walks it can bear. */
import { type JsonValue, ParleyError } from "../errors/parley-error.ts";

/** Deeper JSON than this has no honest use here, and recursion over it could exhaust the stack. */
export const JSON_DEPTH_MAX = 32;

/**
 * @param what is parsed, for the message
 * @throws ParleyError `invalid_argument` that says what is wrong with the text
 */
export function parseJson(text: string, what = "the body"): JsonValue {
  let json: JsonValue;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    const problem = text.trim() === "" ? "it is empty" : cause instanceof Error ? cause.message : "";
    throw new ParleyError("invalid_argument", `${what} is not JSON: ${problem}`, { cause });
  }
  if (typeof json === "object" && json !== null && isDeeperThan(json, JSON_DEPTH_MAX)) {
    throw new ParleyError("invalid_argument", `the JSON is nested deeper than ${JSON_DEPTH_MAX} levels`);
  }
  return json;
}

/** Level by level, not by recursion: the depth is what the sender chose. */
function isDeeperThan(root: object, depthMax: number): boolean {
  let level: object[] = [root];
  for (let depth = 1; level.length > 0; depth++) {
    if (depth > depthMax) return true;
    level = level.flatMap((value) =>
      Object.values(value).filter((child) => typeof child === "object" && child !== null),
    );
  }
  return false;
}
