/** What administrators send: JSON bodies, query strings and the version in `If-Match`. */
import type { Context } from "hono";
import { type JsonValue, ParleyError } from "../../core/errors/parley-error.ts";
import { parseJson } from "../../core/messages/parse-json.ts";
import type { EdgeEnv } from "./edge-env.ts";
import { readJsonText } from "./read-body.ts";

/** `If-Match: "3"`; entity tags are the versions of agents. */
const ENTITY_TAG_PATTERN = /^"([1-9]\d{0,8})"$/;

/** The body as JSON. @throws ParleyError `invalid_argument`, also for what {@link readJsonText} refuses */
export async function readJsonBody(c: Context<EdgeEnv>): Promise<JsonValue> {
  const bytesMax = c.get("composition").config.requestBytesMax;
  return parseJson(await readJsonText(c.req.raw, { bytesMax, signal: c.get("abort").signal }));
}

/** The same, where no body means `{}`. */
export async function readOptionalJsonBody(c: Context<EdgeEnv>): Promise<JsonValue> {
  const isEmpty = c.req.raw.body === null || c.req.header("content-length") === "0";
  return isEmpty ? {} : readJsonBody(c);
}

/** The query string as an object of texts; of a name given twice, the last counts. */
export function readQuery(c: Context<EdgeEnv>): Record<string, string> {
  return Object.fromEntries(new URL(c.req.url).searchParams);
}

/**
 * The version that the caller means to change (RFC 9110, section 13.1.1); undefined for any.
 *
 * @throws ParleyError `invalid_argument`
 */
export function expectedVersion(c: Context<EdgeEnv>): number | undefined {
  const header = c.req.header("if-match");
  if (header === undefined || header === "*") return undefined;
  const version = ENTITY_TAG_PATTERN.exec(header)?.[1];
  if (version !== undefined) return Number(version);
  throw new ParleyError("invalid_argument", 'If-Match must be one entity tag of an agent, e.g. "3", or *');
}

/** The tag by which the caller can name this version. */
export function entityTag(version: number): string {
  return `"${version}"`;
}
