/**
 * Who calls: verifies the credential of a request. Every refusal is the same answer, whatever was wrong with the
 * credential; the reason goes to the log. A directory that cannot be asked is not a refusal: that stays `unavailable`.
 */
import type { MiddlewareHandler } from "hono";
import { ParleyError } from "../../core/errors/parley-error.ts";
import { callerAddress } from "./caller-address.ts";
import type { EdgeEnv } from "./edge-env.ts";

/** Sets `principal` and `limits`, or throws `unauthenticated`. */
export const authenticate: MiddlewareHandler<EdgeEnv> = async function authenticate(c, next) {
  const verification = await c.get("composition").verifyCredential({
    authorization: c.req.header("authorization"),
    address: callerAddress(c),
    signal: c.get("abort").signal,
  });
  const access = c.get("access");
  if (!verification.ok) {
    access.add({ authFailure: verification.reason });
    c.header("WWW-Authenticate", 'Bearer realm="parley"');
    throw new ParleyError(
      "unauthenticated",
      "a valid API key is needed: send it as `Authorization: Bearer parley_…`",
    );
  }
  const { tenantId, subject, keyId } = verification.principal;
  access.add({ tenantId, subject, keyId });
  c.set("principal", verification.principal);
  c.set("limits", verification.limits);
  await next();
};
