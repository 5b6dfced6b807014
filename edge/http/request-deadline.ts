/**
 * One budget of time for the whole request, over all its waits and attempts, and the signal that ends them. A
 * caller may lower the budget with the header `Parley-Timeout-Ms`.
 */
import type { MiddlewareHandler } from "hono";
import { ParleyError } from "../../core/errors/parley-error.ts";
import { TIMEOUT_HEADER } from "../../core/messages/internal-routes.ts";
import { Deadline, deadlineExceeded } from "../../core/resilience/deadline.ts";
import type { EdgeEnv } from "./edge-env.ts";

/** Sets `deadline` and `abort`; a budget above the configured limit is the limit. */
export const requestDeadline: MiddlewareHandler<EdgeEnv> = async function requestDeadline(c, next) {
  const { config, now } = c.get("composition");
  const limitMs = config.requestTimeoutMs;
  const budgetMs = Math.min(limitMs, requestedTimeoutMs(c.req.header(TIMEOUT_HEADER)) ?? limitMs);
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(deadlineExceeded()), budgetMs);
  const client = c.req.raw.signal;
  const onClientGone = () => {
    const error = clientGone(client.reason);
    c.get("access").fail(error);
    abort.abort(error);
    // When the client has gone, workerd runs this listener and nothing after it.
    c.get("lifetime").end();
  };
  if (client.aborted) onClientGone();
  else client.addEventListener("abort", onClientGone, { once: true });
  c.get("lifetime").onEnd(() => {
    clearTimeout(timer);
    client.removeEventListener("abort", onClientGone);
  });
  c.set("deadline", Deadline.after(budgetMs, now));
  c.set("abort", abort);
  await next();
};

/** The error of a request whose client no longer waits. */
export function clientGone(cause?: unknown): ParleyError {
  return new ParleyError("canceled", "the client closed the request", { cause });
}

function requestedTimeoutMs(header: string | undefined): number | undefined {
  if (header === undefined) return undefined;
  if (!/^[1-9]\d{0,8}$/.test(header)) {
    throw new ParleyError("invalid_argument", `${TIMEOUT_HEADER} must be whole milliseconds, e.g. 5000`);
  }
  return Number(header);
}
