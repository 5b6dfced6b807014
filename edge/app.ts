/**
 * Every route of the edge, on one screen. The order is the way of a request: identified, logged, configured,
 * then by route its deadline, its caller, that caller's limits and scope. Failures of all of them meet in
 * `http/errors.ts`. A route cannot be added without its description for `/openapi.json`.
 */
import { Hono } from "hono";
import type { Clock } from "../core/resilience/deadline.ts";
import type { Compose } from "./composition.ts";
import * as agents from "./http/agent-routes.ts";
import { authenticate } from "./http/authenticate.ts";
import * as completions from "./http/completion-routes.ts";
import { crossOrigin } from "./http/cross-origin.ts";
import type { EdgeEnv } from "./http/edge-env.ts";
import { answerError, answerNotFound, refuseMethod } from "./http/errors.ts";
import { getHealth, getReadiness } from "./http/health-routes.ts";
import * as keys from "./http/key-routes.ts";
import * as knowledge from "./http/knowledge-routes.ts";
import { limitRequests } from "./http/limit.ts";
import { postMessage } from "./http/message-route.ts";
import { getOpenApi } from "./http/openapi-route.ts";
import { authenticateBackend, postPeerMessage } from "./http/peer-message-route.ts";
import { provideComposition } from "./http/provide-composition.ts";
import * as records from "./http/record-routes.ts";
import { requestContext } from "./http/request-context.ts";
import { requestDeadline } from "./http/request-deadline.ts";
import { requireCallerScope } from "./http/require-caller-scope.ts";
import type { Method, Route } from "./http/route.ts";
import * as sessions from "./http/session-routes.ts";
import * as tasks from "./http/task-routes.ts";
import * as tenants from "./http/tenant-routes.ts";
import * as aboutKnowledge from "./openapi/knowledge-operations.ts";
import * as about from "./openapi/operations.ts";
import * as aboutSessions from "./openapi/session-operations.ts";

/** What the application touches, beside what is composed from its environment. */
export interface AppOptions {
  /** Called once for every request but `/healthz`; throws when the environment is not usable. */
  compose: Compose;
  /** Takes one line of the log, without its line end. */
  writeLine: (line: string) => void;
  /** Unix epoch, milliseconds. */
  now: Clock;
}

const KNOWLEDGE = "/api/v1/knowledge/{collection}";
const DOCUMENT = `${KNOWLEDGE}/documents/{id}` as const;

/** Every route: method and path, who may call it (any of the scopes), what answers, what is said of it. */
export const ROUTES: readonly Route[] = [
  route("GET /healthz", [], getHealth, about.getHealth),
  route("GET /readyz", [], getReadiness, about.getReadiness),
  route(
    "GET /openapi.json",
    [],
    getOpenApi(() => ROUTES),
    about.getOpenApi,
  ),
  route("POST /api/v1/a2a/message", ["messages:send"], postMessage, about.postMessage),
  route("GET /api/v1/a2a/tasks/{id}", ["messages:send"], tasks.getTask, about.getTask),
  route("GET /api/v1/a2a/tasks/{id}/events", ["messages:send"], tasks.getTaskEvents, about.getTaskEvents),
  route("POST /api/v1/a2a/tasks/{id}/cancel", ["messages:send"], tasks.cancelTask, about.cancelTask),
  route("POST /v1/chat/completions", ["messages:send"], completions.postCompletion, about.postCompletion),
  route("GET /v1/models", ["messages:send", "agents:read"], completions.listModels, about.listModels),
  route("GET /v1/models/{id}", ["messages:send", "agents:read"], completions.getModel, about.getModel),
  route("POST /api/v1/a2a/sessions", ["messages:send"], sessions.postSession, aboutSessions.postSession),
  route(
    "DELETE /api/v1/a2a/sessions/{id}",
    ["messages:send"],
    sessions.deleteSession,
    aboutSessions.deleteSession,
  ),
  {
    ...route("GET /ws/v1/a2a/stream", ["messages:send"], sessions.openSocket, aboutSessions.openSocket),
    authenticate: sessions.authenticateConnection,
  },
  {
    ...route("POST /internal/v1/peer-messages", [], postPeerMessage, aboutSessions.postPeerMessage),
    authenticate: authenticateBackend,
  },
  route("GET /api/v1/agents", ["agents:read"], agents.listAgents, about.listAgents),
  route("POST /api/v1/agents", ["agents:write"], agents.postAgent, about.postAgent),
  route("GET /api/v1/agents/{id}", ["agents:read"], agents.getAgent, about.getAgent),
  route("PUT /api/v1/agents/{id}", ["agents:write"], agents.putAgent, about.putAgent),
  route("PATCH /api/v1/agents/{id}", ["agents:write"], agents.patchAgent, about.patchAgent),
  route("DELETE /api/v1/agents/{id}", ["agents:write"], agents.deleteAgent, about.deleteAgent),
  route(
    "GET /api/v1/agents/{id}/versions",
    ["agents:write"],
    agents.listAgentVersions,
    about.listAgentVersions,
  ),
  route("GET /api/v1/keys", ["keys:manage"], keys.listKeys, about.listKeys),
  route("POST /api/v1/keys", ["keys:manage"], keys.postKey, about.postKey),
  route("POST /api/v1/keys/{id}/rotate", ["keys:manage"], keys.rotateKey, about.rotateKey),
  route("DELETE /api/v1/keys/{id}", ["keys:manage"], keys.deleteKey, about.deleteKey),
  route("GET /api/v1/tenants", ["operator"], tenants.listTenants, about.listTenants),
  route("POST /api/v1/tenants", ["operator"], tenants.postTenant, about.postTenant),
  route("GET /api/v1/tenants/{id}", ["operator"], tenants.getTenant, about.getTenant),
  route("PATCH /api/v1/tenants/{id}", ["operator"], tenants.patchTenant, about.patchTenant),
  route(
    `GET ${KNOWLEDGE}/documents`,
    ["knowledge:read"],
    knowledge.listDocuments,
    aboutKnowledge.listDocuments,
  ),
  route(
    `POST ${KNOWLEDGE}/documents`,
    ["knowledge:write"],
    knowledge.postDocuments,
    aboutKnowledge.postDocuments,
  ),
  route(`GET ${DOCUMENT}`, ["knowledge:read"], knowledge.getDocument, aboutKnowledge.getDocument),
  route(`PUT ${DOCUMENT}`, ["knowledge:write"], knowledge.putDocument, aboutKnowledge.putDocument),
  route(`DELETE ${DOCUMENT}`, ["knowledge:write"], knowledge.deleteDocument, aboutKnowledge.deleteDocument),
  route(
    `POST ${KNOWLEDGE}/search`,
    ["knowledge:read"],
    knowledge.searchDocuments,
    aboutKnowledge.searchDocuments,
  ),
  route(`GET ${KNOWLEDGE}/jobs/{id}`, ["knowledge:read"], knowledge.getJob, aboutKnowledge.getJob),
  route(
    `DELETE ${KNOWLEDGE}`,
    ["knowledge:write"],
    knowledge.deleteCollection,
    aboutKnowledge.deleteCollection,
  ),
  route("GET /api/v1/usage", ["usage:read"], records.getUsage, about.getUsage),
  route("GET /api/v1/messages", ["messages:read"], records.listMessages, about.listMessages),
  route("GET /api/v1/audit", ["keys:manage", "operator"], records.getAudit, about.getAudit),
];

/** The first route of the table: it answers although the environment is not usable. */
const NEEDS_NO_COMPOSITION = "/healthz";

/** Builds the application; nothing is read or opened before its first request. */
export function createApp({ compose, writeLine, now }: AppOptions): Hono<EdgeEnv> {
  const app = new Hono<EdgeEnv>();
  app.onError(answerError);
  app.notFound(answerNotFound);
  app.use(requestContext({ writeLine, now }));
  for (const [path, routes] of Map.groupBy(ROUTES, ({ path }) => path)) {
    const honoPath = path.replaceAll(/\{(\w+)\}/g, ":$1");
    for (const route of routes) addRoute(app, honoPath, route);
    app.all(honoPath, refuseMethod(routes.map(({ method }) => method)));
    // Both hold for all that is added after them.
    if (path === NEEDS_NO_COMPOSITION) app.use(provideComposition(compose), crossOrigin);
  }
  return app;
}

function addRoute(app: Hono<EdgeEnv>, path: string, route: Route): void {
  const { method, scopes, handle } = route;
  const [scope, ...alternatives] = scopes;
  if (route.authenticate) app.on(method, [path], requestDeadline, route.authenticate, handle);
  else if (scope === undefined) app.on(method, [path], handle);
  else {
    const mayCall = requireCallerScope(scope, ...alternatives);
    app.on(method, [path], requestDeadline, authenticate, limitRequests, mayCall, handle);
  }
}

function route(
  methodAndPath: `${Method} /${string}`,
  scopes: Route["scopes"],
  handle: Route["handle"],
  operation: Route["operation"],
): Route {
  const [method, path] = methodAndPath.split(" ") as [Method, string];
  return { method, path, scopes, handle, operation };
}
