/**
 * Lets pages of other origins call (Fetch Standard, section 3.3): those in `ALLOWED_ORIGINS`, the same list that opens
 * WebSockets. Callers send their credential in a header, so cookies are never allowed; pages of any other origin get no
 * header, and their browser refuses them the answer.
 */
import type { MiddlewareHandler } from "hono";
import { cors } from "hono/cors";
import type { EdgeEnv } from "./edge-env.ts";

/** How long a browser may remember what it was allowed; as long as Chromium does at most. */
const PREFLIGHT_SECONDS = 7_200;
const METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"];
/** What a page may read of an answer beside its body. */
const EXPOSED_HEADERS = [
  "ETag",
  "Location",
  "Parley-Degraded",
  "Parley-Model",
  "Preference-Applied",
  "RateLimit",
  "RateLimit-Policy",
  "Retry-After",
  "X-Request-Id",
];

const allow = cors({
  origin: (origin, c) => (c.get("composition").config.allowedOrigins.includes(origin) ? origin : null),
  allowMethods: METHODS,
  exposeHeaders: EXPOSED_HEADERS,
  maxAge: PREFLIGHT_SECONDS,
});

/** A step after `provideComposition`; answers preflights itself. Upgrades check their origin themselves. */
export const crossOrigin: MiddlewareHandler<EdgeEnv> = async function crossOrigin(c, next) {
  if (c.req.header("origin") === undefined || c.req.header("upgrade") !== undefined) return next();
  return allow(c, next);
};
