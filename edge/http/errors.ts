/** The one place where failures become HTTP answers: Hono's `onError` and `notFound`, and refused methods. */
import type { Context, Handler } from "hono";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import { errorBody, httpStatusOf, retryAfterSecondsOf } from "../../core/errors/http-errors.ts";
import { ParleyError, toParleyError } from "../../core/errors/parley-error.ts";
import { isOpenaiPath, openaiErrorBody } from "../completions/openai-error.ts";
import type { EdgeEnv } from "./edge-env.ts";

/** Longest part of a path that an error repeats. */
const PATH_CHARACTERS_MAX = 200;

/** Any failure as its status, body and headers; unknown ones leave as "internal error". */
export function answerError(failure: Error, c: Context<EdgeEnv>): Response {
  const error = toParleyError(failure);
  c.get("access").fail(error);
  const retryAfterSeconds = retryAfterSecondsOf(error);
  if (retryAfterSeconds !== undefined) c.header("Retry-After", String(retryAfterSeconds));
  const body = isOpenaiPath(c.req.path) ? openaiErrorBody(error) : errorBody(error, c.get("requestId"));
  return c.json(body, httpStatusOf(error) as ContentfulStatusCode);
}

/** A path that no route has. */
export function answerNotFound(c: Context<EdgeEnv>): Response {
  return answerError(
    new ParleyError("not_found", `there is nothing at ${shownPath(c)}`, { reason: "unknown-url" }),
    c,
  );
}

/**
 * A path that there is, with a method that it has not (RFC 9110, section 15.5.6).
 *
 * @param methods those it has; GET brings HEAD with it
 */
export function refuseMethod(methods: readonly string[]): Handler<EdgeEnv> {
  const allow = methods.flatMap((method) => (method === "GET" ? ["GET", "HEAD"] : [method])).join(", ");
  return function refuseMethod(c) {
    c.header("Allow", allow);
    throw new ParleyError("unimplemented", `${shownPath(c)} takes ${allow}, not ${c.req.method}`, {
      reason: "method-not-allowed",
    });
  };
}

function shownPath(c: Context<EdgeEnv>): string {
  return c.req.path.slice(0, PATH_CHARACTERS_MAX);
}
