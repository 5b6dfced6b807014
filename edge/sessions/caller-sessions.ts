/** The ways between the Worker, a session's object and the object that knows all sessions of one caller. */
import type { Principal } from "../../core/auth/principal.ts";
import type { SessionRpc } from "./session-object.ts";

/** What the object of a caller's sessions can be asked. */
export interface CallerRpc {
  /** Counts a new session; false when the caller has too many. */
  add(principal: Principal, sessionId: string): Promise<boolean>;
  /** A session has its first connection, or has lost its last one. */
  connected(principal: Principal, sessionId: string, isConnected: boolean): Promise<void>;
  /** A session has ended. */
  removed(sessionId: string): Promise<void>;
}

/** A session's object, as a stub has it. */
export type SessionStub = SessionRpc & { fetch(request: Request): Promise<Response> };

/** The bindings of `SessionObject` and `CallerObject`, as far as they are used here. */
export interface SessionBindings {
  readonly SESSIONS: { getByName(name: string): SessionStub };
  readonly CALLERS: { getByName(name: string): CallerRpc };
}

/** The object of a session. */
export function sessionOf(env: object, tenantId: string, sessionId: string): SessionStub {
  return (env as SessionBindings).SESSIONS.getByName(`${tenantId}/session/${sessionId}`);
}

/** The object of all sessions of a key or, for callers without one, of a subject. */
export function callerOf(env: object, { tenantId, keyId, subject }: Principal): CallerRpc {
  const owner = keyId === "" ? `subject/${encodeURIComponent(subject.toWellFormed())}` : `key/${keyId}`;
  return (env as SessionBindings).CALLERS.getByName(`${tenantId}/caller/${owner}`);
}
