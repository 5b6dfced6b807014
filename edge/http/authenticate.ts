/**
 * Who calls: verifies the API key of a request. Every refusal is the same answer, whatever was wrong with the
 * key; the reason goes to the log. A directory that cannot be asked is not a refusal: that stays `unavailable`.
 */
import type { MiddlewareHandler } from "hono";
import { parseApiKey, verifyApiKey } from "../../core/auth/api-key.ts";
import { bearerCredential } from "../../core/auth/bearer.ts";
import type { Verification } from "../../core/auth/principal.ts";
import { ParleyError } from "../../core/errors/parley-error.ts";
import type { Composition } from "../composition.ts";
import type { EdgeEnv } from "./edge-env.ts";

/** Sets `principal`, or throws `unauthenticated`. */
export const authenticate: MiddlewareHandler<EdgeEnv> = async function authenticate(c, next) {
  const credential = bearerCredential(c.req.header("authorization"));
  const verification = await verify(credential, c.get("composition"), c.get("abort").signal);
  const access = c.get("access");
  if (!verification.ok) {
    access.add({ authFailure: credential === undefined ? "missing" : verification.reason });
    c.header("WWW-Authenticate", 'Bearer realm="parley"');
    throw new ParleyError(
      "unauthenticated",
      "a valid API key is needed: send it as `Authorization: Bearer parley_…`",
    );
  }
  const { tenantId, subject, keyId } = verification.principal;
  access.add({ tenantId, subject, keyId });
  c.set("principal", verification.principal);
  await next();
};

async function verify(
  credential: string | undefined,
  { directory, now }: Composition,
  signal: AbortSignal,
): Promise<Verification> {
  const presented = credential === undefined ? undefined : parseApiKey(credential);
  if (!presented) return { ok: false, reason: "malformed" };
  const record = await directory.findApiKey(presented.keyId, signal);
  return verifyApiKey(presented, record, now());
}
