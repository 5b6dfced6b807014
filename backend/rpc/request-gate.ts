/**
 * The door of the backend: finds out who calls before the body is read. The edge shows its signed token; every
 * other caller shows an API key. Health and reflection are open.
 */
import type { HandlerContext } from "@connectrpc/connect";
import type { CryptoKey } from "jose";
import { parseApiKey, verifyApiKey } from "../../core/auth/api-key.ts";
import { BACKEND_TOKEN_HEADER, verifyBackendToken } from "../../core/auth/backend-token.ts";
import { bearerCredential } from "../../core/auth/bearer.ts";
import type { Principal, Verification } from "../../core/auth/principal.ts";
import type { Directory } from "../../core/directory/directory.ts";
import { toConnectError } from "../../core/errors/connect-errors.ts";
import { ParleyError } from "../../core/errors/parley-error.ts";
import { acceptOrMintRequestId, REQUEST_ID_HEADER } from "../../core/messages/request-id.ts";
import { acceptOrStartTrace, TRACEPARENT_HEADER } from "../../core/messages/trace-context.ts";
import { AgentService } from "../../proto/gen/parley/v1/agent_service_pb.js";
import { setCaller } from "./caller.ts";

/** What the gate works with. */
export interface RequestGateOptions {
  directory: Directory;
  /** Undefined when this backend has no edge: then only API keys are taken. */
  backendTokenKey: CryptoKey | undefined;
  now: () => number;
  /** Told of every refusal; the caller is not told why. */
  onRefused: (refusal: { requestId: string; reason: string; procedure: string }) => void;
}

/** Services that answer anybody: what they tell is not a tenant's. */
function isOpen(context: HandlerContext): boolean {
  return context.service.typeName !== AgentService.typeName;
}

/** Makes the gate for `connectNodeAdapter`'s `requestGate`. */
export function createRequestGate(options: RequestGateOptions): (context: HandlerContext) => Promise<void> {
  const { directory, backendTokenKey, now, onRefused } = options;

  async function verify(header: Headers): Promise<Verification & { requestId?: string }> {
    const token = header.get(BACKEND_TOKEN_HEADER);
    if (token !== null) {
      const claims = backendTokenKey && (await verifyBackendToken(backendTokenKey, token, now()));
      return claims ? { ok: true, ...claims } : { ok: false, reason: "bad-token" };
    }
    const credential = bearerCredential(header.get("authorization"));
    const presented = credential === undefined ? undefined : parseApiKey(credential);
    if (!presented) return { ok: false, reason: "malformed" };
    return verifyApiKey(presented, await directory.findApiKey(presented.keyId), now());
  }

  return async (context) => {
    const header = context.requestHeader;
    const trace = acceptOrStartTrace(header.get(TRACEPARENT_HEADER));
    let requestId = acceptOrMintRequestId(header.get(REQUEST_ID_HEADER));
    let principal: Principal | undefined;
    try {
      if (!isOpen(context)) {
        const verification = await verify(header);
        if (!verification.ok) {
          onRefused({ requestId, reason: verification.reason, procedure: context.method.name });
          throw new ParleyError(
            "unauthenticated",
            "send a valid API key as `authorization: Bearer parley_<id>_<secret>`",
          );
        }
        requestId = verification.requestId ?? requestId;
        principal = verification.principal;
      }
    } catch (error) {
      context.responseHeader.set(REQUEST_ID_HEADER, requestId);
      throw toConnectError(error, requestId);
    }
    context.responseHeader.set(REQUEST_ID_HEADER, requestId);
    setCaller(context, { principal, requestId, trace });
  };
}
