/** `/openapi.json`: the description of every route, for anybody. */
import type { Context } from "hono";
import { openApiDocument } from "../openapi/openapi-document.ts";
import type { EdgeEnv } from "./edge-env.ts";
import type { Route } from "./route.ts";

/** Of the API, not of the program: it changes when the routes do. */
const API_VERSION = "1.0.0";

/** @param routes called at each request: the table has this route in it */
export function getOpenApi(routes: () => readonly Route[]): Route["handle"] {
  return function getOpenApi(c: Context<EdgeEnv>): Response {
    return c.json(openApiDocument(routes(), API_VERSION));
  };
}
