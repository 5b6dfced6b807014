/** What the Worker asks of a session's object when a client wants a connection, and how the object refuses. */
import { isErrorCode, ParleyError } from "../../core/errors/parley-error.ts";
import type { SessionOwner } from "./session-owner.ts";
import type { SessionTokenKind } from "./session-token.ts";

/** The header of the internal request that carries the opening; only the Worker can reach the object. */
export const OPENING_HEADER = "parley-opening";

/** By what right the connection is opened. */
export type Opening = {
  readonly sessionId: string;
  /** The last number that the client has; undefined when it does not say. */
  readonly after?: number | undefined;
} & (
  | { readonly by: SessionTokenKind; readonly clientId: string; readonly secret: string }
  /** A caller with a credential of its own; `isNew` for a session that begins with it. */
  | { readonly by: "caller"; readonly owner: SessionOwner; readonly isNew: boolean }
);

/** Why a session refuses, in a form that survives the way between objects. */
export interface Refusal {
  readonly code: string;
  readonly message: string;
  readonly reason?: string;
  readonly retryAfterMs?: number;
}

/** What an error is on that way. */
export function toRefusal({ code, message, reason, retryAfterMs }: ParleyError): Refusal {
  return {
    ...{ code, message },
    ...(reason !== undefined && { reason }),
    ...(retryAfterMs !== undefined && { retryAfterMs }),
  };
}

/** The error again. */
export function fromRefusal({ code, message, reason, retryAfterMs }: Refusal): ParleyError {
  return new ParleyError(isErrorCode(code) ? code : "internal", message, {
    ...(reason !== undefined && { reason }),
    ...(retryAfterMs !== undefined && { retryAfterMs }),
  });
}

/** A credential that is not good for this session, whatever is wrong with it. */
export function notAuthenticated(): ParleyError {
  return new ParleyError(
    "unauthenticated",
    "a valid ticket, resume token or API key is needed: get a ticket from POST /api/v1/a2a/sessions",
  );
}

/** No session, or another caller's. */
export function sessionNotFound(): ParleyError {
  return new ParleyError(
    "not_found",
    "there is no such session of yours; begin a new one without `sessionId`",
  );
}
