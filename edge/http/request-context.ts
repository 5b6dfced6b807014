/**
 * The first step of every request: its id, its place in a trace, the headers that every answer carries, and, at
 * its end, its line in the log.
 */
import type { MiddlewareHandler } from "hono";
import { matchedRoutes } from "hono/route";
import { HTTP_STATUS } from "../../core/errors/http-errors.ts";
import { acceptOrMintRequestId, REQUEST_ID_HEADER } from "../../core/messages/request-id.ts";
import { acceptOrStartTrace, TRACEPARENT_HEADER } from "../../core/messages/trace-context.ts";
import type { Clock } from "../../core/resilience/deadline.ts";
import { LOG_LEVEL_DEFAULT } from "../env.ts";
import { AccessRecord } from "./access-record.ts";
import type { EdgeEnv } from "./edge-env.ts";
import { jsonLine } from "./json-line.ts";
import { RequestLifetime } from "./request-lifetime.ts";

/**
 * On every answer that is made with Hono's context. A raw Response, such as the 101 of a WebSocket whose headers
 * are immutable, goes out as it is.
 */
const ANSWER_HEADERS: Readonly<Record<string, string>> = {
  "Cache-Control": "no-store",
  "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
  "X-Content-Type-Options": "nosniff",
};

/** Where the line goes, and the clock that it is timed by. */
export interface RequestContextOptions {
  writeLine: (line: string) => void;
  now: Clock;
}

/** Sets what every later step may rely on. */
export function requestContext({ writeLine, now }: RequestContextOptions): MiddlewareHandler<EdgeEnv> {
  return async function requestContext(c, next) {
    const startedAtMs = now();
    const requestId = acceptOrMintRequestId(c.req.header(REQUEST_ID_HEADER));
    const trace = acceptOrStartTrace(c.req.header(TRACEPARENT_HEADER));
    const access = new AccessRecord(LOG_LEVEL_DEFAULT);
    const lifetime = new RequestLifetime();
    c.set("requestId", requestId);
    c.set("trace", trace);
    c.set("access", access);
    c.set("lifetime", lifetime);
    c.header("X-Request-Id", requestId);
    for (const [name, value] of Object.entries(ANSWER_HEADERS)) c.header(name, value);

    // Middleware matches by wildcard; the first path without one is the route's own.
    const route = matchedRoutes(c).find(({ path }) => !path.endsWith("*"))?.path ?? "unmatched";
    lifetime.onEnd(() => {
      const status = c.finalized ? c.res.status : HTTP_STATUS.canceled;
      const line = access.fieldsFor(status);
      if (!line) return;
      writeLine(
        jsonLine({
          level: line.level,
          time: new Date(now()).toISOString(),
          msg: "request",
          requestId,
          traceId: trace.traceId,
          method: c.req.method,
          route,
          status,
          durationMs: now() - startedAtMs,
          ...line.fields,
        }),
      );
    });
    const release = lifetime.hold();
    try {
      await next();
    } finally {
      release();
    }
  };
}
