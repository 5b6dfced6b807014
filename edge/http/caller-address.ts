/** From where a request comes: for slowing down guesses, and for the record of administrative changes. */
import type { Context } from "hono";
import type { EdgeEnv } from "./edge-env.ts";

/** Set by Cloudflare, which drops what callers send under this name. The only word on the address that is believed. */
const ADDRESS_HEADER = "CF-Connecting-IP";
/** Where the Worker runs without Cloudflare in front of it. */
const ADDRESS_LOCAL = "local";

/** The caller's address as the platform knows it, never as the caller says. */
export function callerAddress(c: Context<EdgeEnv>): string {
  return c.req.header(ADDRESS_HEADER) ?? ADDRESS_LOCAL;
}
