/**
 * Who calls: verifies the credential of a request, and again while the request is open, so that no answer outlives a
 * revocation or an expiry for long. Every refusal is the same answer, whatever was wrong with the credential; the reason
 * goes to the log. A directory that cannot be asked is not a refusal: that stays `unavailable`.
 */
import type { Context, MiddlewareHandler } from "hono";
import type { RefusalReason } from "../../core/auth/principal.ts";
import { ParleyError } from "../../core/errors/parley-error.ts";
import { callerAddress } from "./caller-address.ts";
import type { EdgeEnv } from "./edge-env.ts";

/**
 * A revoked key's answers end within 52 s: the directory's copy of a key is fresh for 30 s, the next check may be
 * answered from it once more while another caller asks the store, which takes 2 s at most, and the one after is not.
 */
const VERIFY_AGAIN_MS = 10_000;

/** Sets `principal` and `limits`, or throws `unauthenticated`; later it may abort the request with the same. */
export const authenticate: MiddlewareHandler<EdgeEnv> = async function authenticate(c, next) {
  const verify = () =>
    c.get("composition").verifyCredential({
      authorization: c.req.header("authorization"),
      address: callerAddress(c),
      signal: c.get("abort").signal,
    });
  const verification = await verify();
  if (!verification.ok) {
    c.header("WWW-Authenticate", 'Bearer realm="parley"');
    throw refusal(c, verification.reason);
  }
  const { tenantId, subject, keyId } = verification.principal;
  c.get("access").add({ tenantId, subject, keyId });
  c.set("principal", verification.principal);
  c.set("limits", verification.limits);
  verifyWhileOpen(c, verify);
  await next();
};

type Verify = () => ReturnType<EdgeEnv["Variables"]["composition"]["verifyCredential"]>;

function verifyWhileOpen(c: Context<EdgeEnv>, verify: Verify): void {
  const timer = setInterval(async () => {
    // What cannot be asked now is asked again; until then the caller is who it was.
    const verification = await verify().catch(() => undefined);
    if (!verification || verification.ok) return;
    clearInterval(timer);
    c.get("abort").abort(refusal(c, verification.reason));
  }, VERIFY_AGAIN_MS);
  c.get("lifetime").onEnd(() => clearInterval(timer));
}

function refusal(c: Context<EdgeEnv>, reason: RefusalReason): ParleyError {
  c.get("access").add({ authFailure: reason });
  return new ParleyError(
    "unauthenticated",
    "a valid API key is needed: send it as `Authorization: Bearer parley_…`",
  );
}
