/**
 * From where a request comes: for slowing down guesses, and for the record of administrative changes. Callers can send
 * any header, so the runtime is believed, or the one header that the configuration names because a proxy sets it.
 */
import type { Context } from "hono";
import type { EdgeEnv } from "./edge-env.ts";

/** Where neither says anything: all such callers count as one. */
const ADDRESS_UNKNOWN = "unknown";

/** The caller's address as the platform knows it, never as the caller says. */
export function callerAddress(c: Context<EdgeEnv>): string {
  const { clientAddressHeader } = c.get("composition").config;
  if (clientAddressHeader === undefined) return peerAddress(c.req.raw) ?? ADDRESS_UNKNOWN;
  // Proxies append; what stands before the last entry came from the caller.
  const last = c.req.header(clientAddressHeader)?.split(",").at(-1)?.trim();
  return last || ADDRESS_UNKNOWN;
}

/**
 * The other end of the connection. workerd says it in `cf`, with its port, where nothing else has set `cf`; on
 * Cloudflare the connection is Cloudflare's own and the header CF-Connecting-IP has the caller's address.
 */
function peerAddress(request: Request & { cf?: { clientIp?: unknown } }): string | undefined {
  const peer = request.cf?.clientIp;
  if (typeof peer !== "string") return undefined;
  const [, ipv6, ipv4] = /^(?:\[([^\]]+)\]|([^:]+))(?::\d+)?$/.exec(peer) ?? [];
  return ipv6 ?? ipv4 ?? peer;
}
