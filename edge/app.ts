/**
 * Every route of the edge, on one screen. The order is the way of a request: identified, logged, configured,
 * then by route its deadline, its caller and that caller's scope. Failures of all of them meet in `http/errors.ts`.
 */
import { type Handler, Hono, type MiddlewareHandler } from "hono";
import type { Clock } from "../core/resilience/deadline.ts";
import type { Compose } from "./composition.ts";
import { getAgent, listAgents } from "./http/agent-routes.ts";
import { authenticate } from "./http/authenticate.ts";
import type { EdgeEnv } from "./http/edge-env.ts";
import { answerError, answerNotFound, refuseMethod } from "./http/errors.ts";
import { getHealth, getReadiness } from "./http/health-routes.ts";
import { postMessage } from "./http/message-route.ts";
import { provideComposition } from "./http/provide-composition.ts";
import { requestContext } from "./http/request-context.ts";
import { requestDeadline } from "./http/request-deadline.ts";
import { requireCallerScope } from "./http/require-caller-scope.ts";

/** What the application touches, beside what is composed from its environment. */
export interface AppOptions {
  /** Called once for every request but `/healthz`; throws when the environment is not usable. */
  compose: Compose;
  /** Takes one line of the log, without its line end. */
  writeLine: (line: string) => void;
  /** Unix epoch, milliseconds. */
  now: Clock;
}

type Steps = readonly [...MiddlewareHandler<EdgeEnv>[], Handler<EdgeEnv>];

/** Builds the application; nothing is read or opened before its first request. */
export function createApp({ compose, writeLine, now }: AppOptions): Hono<EdgeEnv> {
  const app = new Hono<EdgeEnv>();
  app.onError(answerError);
  app.notFound(answerNotFound);
  app.use(requestContext({ writeLine, now }));

  resource(app, "/healthz", { GET: [getHealth] });

  app.use(provideComposition(compose));

  resource(app, "/readyz", { GET: [getReadiness] });
  resource(app, "/api/v1/a2a/message", {
    POST: [requestDeadline, authenticate, requireCallerScope("messages:send"), postMessage],
  });
  resource(app, "/api/v1/agents", {
    GET: [requestDeadline, authenticate, requireCallerScope("agents:read"), listAgents],
  });
  resource(app, "/api/v1/agents/:id", {
    GET: [requestDeadline, authenticate, requireCallerScope("agents:read"), getAgent],
  });
  return app;
}

/** Adds a path with its methods; every other method is refused with the list of these. */
function resource(app: Hono<EdgeEnv>, path: string, steps: Partial<Record<"GET" | "POST", Steps>>): void {
  for (const [method, handlers] of Object.entries(steps)) app.on(method, [path], ...handlers);
  app.all(path, refuseMethod(Object.keys(steps)));
}
