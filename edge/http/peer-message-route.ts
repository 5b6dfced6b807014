/** `POST /internal/v1/peer-messages`: messages to peers that callers gave to the backend itself, over gRPC. */
import type { Context, MiddlewareHandler } from "hono";
import {
  BACKEND_TOKEN_HEADER,
  importBackendTokenSecret,
  verifyBackendToken,
} from "../../core/auth/backend-token.ts";
import { ParleyError } from "../../core/errors/parley-error.ts";
import { LIMITS_DEFAULT } from "../../core/limits/limits.ts";
import { envelopeFromJsonText, envelopeToJson } from "../../core/messages/envelope.ts";
import { routeToAgent } from "../routing/route-message.ts";
import { backendCall } from "./backend-call.ts";
import type { EdgeEnv } from "./edge-env.ts";
import { readJsonText } from "./read-body.ts";

/** A step in place of `authenticate`: the backend's own token, which names the caller. Limits were the backend's. */
export const authenticateBackend: MiddlewareHandler<EdgeEnv> = async function authenticateBackend(c, next) {
  const { config, now } = c.get("composition");
  const key = await importBackendTokenSecret(config.backendTokenSecret);
  const claims = await verifyBackendToken(key, c.req.header(BACKEND_TOKEN_HEADER) ?? "", now(), "to-edge");
  if (!claims) throw new ParleyError("unauthenticated", "this route is for the gateway's own backends");
  c.get("access").add({ tenantId: claims.principal.tenantId, subject: claims.principal.subject });
  c.set("principal", claims.principal);
  c.set("limits", LIMITS_DEFAULT);
  await next();
};

/** Waits for the peer's reply as long as the backend's turn has time. */
export async function postPeerMessage(c: Context<EdgeEnv>): Promise<Response> {
  const { config, directory, backend } = c.get("composition");
  const { signal } = c.get("abort");
  const { tenantId } = c.get("principal");
  const message = envelopeFromJsonText(
    await readJsonText(c.req.raw, { bytesMax: config.requestBytesMax, signal }),
  );
  const { target } = await routeToAgent(directory, tenantId, message.receiverId, signal);
  // Anything else would come back to the backend.
  if (target !== "peer") throw new ParleyError("invalid_argument", `"${message.receiverId}" is no peer`);
  return c.json(envelopeToJson(await backend.processMessage(message, backendCall(c))));
}
