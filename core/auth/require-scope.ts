/** The check that every route and RPC makes before it does anything. */
import { ParleyError } from "../errors/parley-error.ts";
import type { Principal, Scope } from "./principal.ts";

/** @throws ParleyError `permission_denied` naming the scope that is missing */
export function requireScope(principal: Principal, scope: Scope): void {
  if (principal.scopes.includes(scope)) return;
  throw new ParleyError("permission_denied", `this credential lacks the scope ${scope}`);
}
