/**
 * `/api/v1/a2a/sessions` and `WS /ws/v1/a2a/stream`: who may have a session is decided here, before its object is
 * touched; what happens on the connection is the object's own.
 */
import type { Context, MiddlewareHandler } from "hono";
import * as z from "zod";
import { validate } from "../../core/administration/violations.ts";
import { ParleyError } from "../../core/errors/parley-error.ts";
import { callerOf, sessionOf } from "../sessions/caller-sessions.ts";
import { tooMany } from "../sessions/error-frame.ts";
import {
  fromRefusal,
  notAuthenticated,
  OPENING_HEADER,
  type Opening,
  type Refusal,
  sessionNotFound,
} from "../sessions/opening.ts";
import { SESSIONS_PER_CALLER_MAX } from "../sessions/session-limits.ts";
import type { SessionOwner } from "../sessions/session-owner.ts";
import {
  isSessionId,
  newSessionId,
  parseSessionToken,
  readSubprotocols,
  SUBPROTOCOL,
} from "../sessions/session-token.ts";
import { clientLimits } from "../sessions/session-view.ts";
import { authenticate } from "./authenticate.ts";
import type { EdgeEnv } from "./edge-env.ts";
import { limitRequests } from "./limit.ts";
import { readOptionalJsonBody } from "./read-input.ts";
import { requireCallerScope } from "./require-caller-scope.ts";

/** Where sessions are connected to. */
export const SESSION_PATH = "/ws/v1/a2a/stream";

const AFTER_PATTERN = /^\d{1,16}$/;

/** The body of `POST /api/v1/a2a/sessions`. */
export const sessionRequestSchema = z.strictObject({
  /** A session of the caller's own to come back to, or to share. */
  sessionId: z.string().max(64).optional(),
});

/** Begins a session, or lets another client into one: 201. */
export async function postSession(c: Context<EdgeEnv>): Promise<Response> {
  const { sessionId: given } = validate(sessionRequestSchema, await readOptionalJsonBody(c));
  const owner = ownerOf(c);
  if (given !== undefined && !isSessionId(given)) throw sessionNotFound();
  const sessionId = given ?? (await beginSession(c, owner));
  const admission = await sessionOf(c.env, owner.principal.tenantId, sessionId).admit(
    sessionId,
    owner,
    given === undefined,
  );
  if ("refusal" in admission) throw fromRefusal(admission.refusal);
  const limits = clientLimits(c.get("composition").config.requestBytesMax);
  return c.json({ ...admission, path: SESSION_PATH, limits }, 201);
}

/** Ends a session: 204. */
export async function deleteSession(c: Context<EdgeEnv>): Promise<Response> {
  const sessionId = c.req.param("id") ?? "";
  if (!isSessionId(sessionId)) throw sessionNotFound();
  const principal = c.get("principal");
  const outcome = await sessionOf(c.env, principal.tenantId, sessionId).end(principal);
  if (outcome) throw fromRefusal(outcome.refusal);
  return c.body(null, 204);
}

/**
 * A step in place of `authenticate`, `limitRequests` and the scope: a ticket or a resume token is checked by the
 * session that it is for; without one, the caller needs a credential as on every route.
 */
export const authenticateConnection: MiddlewareHandler<EdgeEnv> = async function authenticateConnection(
  c,
  next,
) {
  requireAllowedOrigin(c);
  const { offered, spoken, token } = readSubprotocols(c.req.header("sec-websocket-protocol"));
  if (offered && !spoken) {
    throw new ParleyError(
      "invalid_argument",
      `the subprotocol \`${SUBPROTOCOL}\` must be among those offered`,
    );
  }
  if (token !== undefined) return next();
  const mayCall = requireCallerScope("messages:send");
  await authenticate(c, () => limitRequests(c, () => mayCall(c, next) as Promise<void>) as Promise<void>);
};

/** Opens a connection: 101. */
export async function openSocket(c: Context<EdgeEnv>): Promise<Response> {
  requireUpgrade(c);
  const { tenantId, opening } = await openingOf(c, readAfter(c));
  const answer = await sessionOf(c.env, tenantId, opening.sessionId).fetch(
    new Request("https://session/", {
      headers: {
        Upgrade: "websocket",
        [OPENING_HEADER]: encodeURIComponent(JSON.stringify(opening)),
        "X-Request-Id": c.get("requestId"),
        ...(c.req.header("sec-websocket-protocol") !== undefined && {
          "Sec-WebSocket-Protocol": SUBPROTOCOL,
        }),
      },
    }),
  );
  if (answer.status !== 101) throw fromRefusal((await answer.json()) as Refusal);
  return answer;
}

async function openingOf(
  c: Context<EdgeEnv>,
  after: number | undefined,
): Promise<{ tenantId: string; opening: Opening }> {
  const { token: text } = readSubprotocols(c.req.header("sec-websocket-protocol"));
  if (text !== undefined) {
    const token = parseSessionToken(text);
    if (!token) throw notAuthenticated();
    const { kind: by, tenantId, sessionId, clientId, secret } = token;
    c.get("access").add({ tenantId, sessionId });
    return { tenantId, opening: { by, sessionId, clientId, secret, after } };
  }
  const owner = ownerOf(c);
  const { tenantId } = owner.principal;
  const given = c.req.query("session");
  if (given !== undefined && !isSessionId(given)) throw sessionNotFound();
  const sessionId = given ?? (await beginSession(c, owner));
  c.get("access").add({ sessionId });
  return { tenantId, opening: { by: "caller", sessionId, owner, isNew: given === undefined, after } };
}

async function beginSession(c: Context<EdgeEnv>, { principal }: SessionOwner): Promise<string> {
  const sessionId = newSessionId();
  if (await callerOf(c.env, principal).add(principal, sessionId)) return sessionId;
  throw tooMany(
    "too-many-sessions",
    `this caller has ${SESSIONS_PER_CALLER_MAX} sessions; end some with DELETE /api/v1/a2a/sessions/{id}`,
  );
}

function ownerOf(c: Context<EdgeEnv>): SessionOwner {
  return { principal: c.get("principal"), limits: c.get("limits") };
}

function readAfter(c: Context<EdgeEnv>): number | undefined {
  const text = c.req.query("after");
  if (text === undefined) return undefined;
  const after = AFTER_PATTERN.test(text) ? Number(text) : Number.NaN;
  if (Number.isSafeInteger(after)) return after;
  throw new ParleyError(
    "invalid_argument",
    "`after` must be a whole number from 0 to 9007199254740991: the last `sessionSequence` that you have",
  );
}

function requireUpgrade(c: Context<EdgeEnv>): void {
  if (c.req.header("upgrade")?.toLowerCase() === "websocket") return;
  c.header("Upgrade", "websocket");
  throw new ParleyError("failed_precondition", "this is a WebSocket: connect with ws:// or wss://", {
    reason: "upgrade-required",
  });
}

/** Any page can make a browser open a WebSocket; a browser says for which, and only then is there anything to check. */
function requireAllowedOrigin(c: Context<EdgeEnv>): void {
  const origin = c.req.header("origin");
  if (origin === undefined) return;
  const isOwn = URL.canParse(origin) && new URL(origin).host === c.req.header("host");
  if (isOwn || c.get("composition").config.allowedOrigins.includes(origin)) return;
  throw new ParleyError(
    "permission_denied",
    "pages of this origin may not connect; the gateway's operator can add it to ALLOWED_ORIGINS",
    { reason: "origin-not-allowed" },
  );
}
