/** What the caller may do: the scope that a route needs. */
import type { MiddlewareHandler } from "hono";
import type { Scope } from "../../core/auth/principal.ts";
import { requireScope } from "../../core/auth/require-scope.ts";
import type { EdgeEnv } from "./edge-env.ts";

/** A step, after `authenticate`, that throws `permission_denied` when the caller has none of the scopes. */
export function requireCallerScope(scope: Scope, ...alternatives: Scope[]): MiddlewareHandler<EdgeEnv> {
  return async function requireCallerScope(c, next) {
    const principal = c.get("principal");
    if (!alternatives.some((other) => principal.scopes.includes(other))) requireScope(principal, scope);
    await next();
  };
}
