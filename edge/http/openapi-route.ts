/** `/openapi.json`: the description of every route, for anybody. */
import type { Context } from "hono";
import { openApiDocument } from "../openapi/openapi-document.ts";
import type { EdgeEnv } from "./edge-env.ts";
import type { Route } from "./route.ts";

/** Of the API, not of the program: it changes when the routes do. */
const API_VERSION = "1.0.0";

/**
 * Made at the first request and kept: anybody may ask for it, and making it takes milliseconds.
 *
 * @param routes called then, not before: the table has this route in it
 */
export function getOpenApi(routes: () => readonly Route[]): Route["handle"] {
  let text: string | undefined;
  return function getOpenApi(c: Context<EdgeEnv>): Response {
    text ??= JSON.stringify(openApiDocument(routes(), API_VERSION));
    return c.body(text, 200, { "Content-Type": "application/json" });
  };
}
