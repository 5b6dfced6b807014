/**
 * The door of the backend: finds out who calls before the body is read. The edge shows its signed token; every
 * other caller shows an API key or a JWT. Health and reflection are open.
 */
import {
  type ContextValues,
  createContextKey,
  createContextValues,
  type HandlerContext,
} from "@connectrpc/connect";
import type { CryptoKey } from "jose";
import { BACKEND_TOKEN_HEADER, verifyBackendToken } from "../../core/auth/backend-token.ts";
import type { Principal, RefusalReason } from "../../core/auth/principal.ts";
import type { VerifyCredential } from "../../core/auth/verify-credential.ts";
import { toConnectError } from "../../core/errors/connect-errors.ts";
import { ParleyError } from "../../core/errors/parley-error.ts";
import type { Limits } from "../../core/limits/limits.ts";
import { acceptOrMintRequestId, REQUEST_ID_HEADER } from "../../core/messages/request-id.ts";
import { acceptOrStartTrace, TRACEPARENT_HEADER } from "../../core/messages/trace-context.ts";
import { Health } from "../../proto/gen/grpc/health/v1/health_pb.js";
import { ServerReflection as ReflectionV1 } from "../../proto/gen/grpc/reflection/v1/reflection_pb.js";
import { ServerReflection as ReflectionV1Alpha } from "../../proto/gen/grpc/reflection/v1alpha/reflection_pb.js";
import { setCaller } from "./caller.ts";

/** What the gate works with. */
export interface RequestGateOptions {
  verifyCredential: VerifyCredential;
  /** Undefined when this backend has no edge: then only callers' own credentials are taken. */
  backendTokenKey: CryptoKey | undefined;
  now: () => number;
  /** Told of every refusal; the caller is not told why. */
  onRefused: (refusal: { requestId: string; reason: string; procedure: string }) => void;
}

type Admission =
  | { ok: true; principal: Principal; limits: Limits | undefined; requestId?: string; address?: string }
  | { ok: false; reason: RefusalReason };

const addressKey = createContextKey("unknown", {
  description: "address of the caller's end of the connection",
});

/** For `connectNodeAdapter`'s `contextValues`: where a request comes from, which the gate needs to know. */
export function connectionValues(request: { socket: { remoteAddress?: string | undefined } }): ContextValues {
  const { remoteAddress } = request.socket;
  const values = createContextValues();
  return remoteAddress === undefined ? values : values.set(addressKey, remoteAddress);
}

/** Answer anybody, as they tell nothing of a tenant; a service that is not named here asks who calls. */
const OPEN_SERVICES: readonly string[] = [Health, ReflectionV1, ReflectionV1Alpha].map(
  ({ typeName }) => typeName,
);

function isOpen(context: HandlerContext): boolean {
  return OPEN_SERVICES.includes(context.service.typeName);
}

/** Makes the gate for `connectNodeAdapter`'s `requestGate`. */
export function createRequestGate(options: RequestGateOptions): (context: HandlerContext) => Promise<void> {
  const { verifyCredential, backendTokenKey, now, onRefused } = options;

  async function admit({ requestHeader: header, values }: HandlerContext): Promise<Admission> {
    const token = header.get(BACKEND_TOKEN_HEADER);
    if (token === null) {
      return verifyCredential({
        authorization: header.get("authorization"),
        address: values.get(addressKey),
      });
    }
    const claims = backendTokenKey && (await verifyBackendToken(backendTokenKey, token, now()));
    return claims ? { ok: true, ...claims, limits: undefined } : { ok: false, reason: "bad-token" };
  }

  return async (context) => {
    const header = context.requestHeader;
    const trace = acceptOrStartTrace(header.get(TRACEPARENT_HEADER));
    let requestId = acceptOrMintRequestId(header.get(REQUEST_ID_HEADER));
    const refuse = (reason: string) => onRefused({ requestId, reason, procedure: context.method.name });
    const verify = async () => {
      const admission = await admit(context);
      if (admission.ok) return admission;
      refuse(admission.reason);
      throw new ParleyError(
        "unauthenticated",
        "send a valid API key as `authorization: Bearer parley_<id>_<secret>`",
      );
    };
    let admission: Awaited<ReturnType<typeof verify>> | undefined;
    try {
      if (!isOpen(context)) admission = await verify();
      requestId = admission?.requestId ?? requestId;
    } catch (error) {
      if (error instanceof ParleyError && error.reason) refuse(error.reason);
      context.responseHeader.set(REQUEST_ID_HEADER, requestId);
      throw toConnectError(error, requestId);
    }
    context.responseHeader.set(REQUEST_ID_HEADER, requestId);
    const { principal, limits, address = context.values.get(addressKey) } = admission ?? {};
    // Only callers with a credential of their own have limits here.
    const verifyAgain = limits && verify;
    setCaller(context, { principal, limits, requestId, address, trace, verifyAgain });
  };
}
