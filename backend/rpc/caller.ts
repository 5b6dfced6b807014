/** Who calls an RPC, in which request; set before the body is read, read by the handlers. */
import { createContextKey, type HandlerContext } from "@connectrpc/connect";
import type { Principal } from "../../core/auth/principal.ts";
import type { Limits } from "../../core/limits/limits.ts";
import type { TraceContext } from "../../core/messages/trace-context.ts";

/** What is known of a call before its body is read. */
export interface Caller {
  /** Undefined on services that need no credential: health and reflection. */
  principal: Principal | undefined;
  /** What the caller may use; undefined for the edge, which keeps to it itself, and where nobody is asked. */
  limits: Limits | undefined;
  requestId: string;
  /** Network address of the caller, as far as it is known; for the audit log. */
  address: string;
  trace: TraceContext;
  /**
   * Verifies the credential again; throws `unauthenticated` when it is no longer good. Undefined where nobody is
   * asked, and for the edge's token, which speaks for one request: there the edge looks after its caller.
   */
  verifyAgain: (() => Promise<{ principal: Principal; limits: Limits | undefined }>) | undefined;
}

/** A call whose caller has been verified. */
export interface VerifiedCaller extends Caller {
  principal: Principal;
}

const callerKey = createContextKey<Caller | undefined>(undefined, { description: "caller" });

/** Remembers the caller for the handlers of this call. */
export function setCaller(context: HandlerContext, caller: Caller): void {
  context.values.set(callerKey, caller);
}

/** The caller of this call, wherever its context values are at hand. */
export function callerOf(context: Pick<HandlerContext, "values">): Caller | undefined {
  return context.values.get(callerKey);
}

/** The verified caller; the gate lets nobody without one through to services that ask for it. */
export function principalOf(context: Pick<HandlerContext, "values">): VerifiedCaller {
  const caller = callerOf(context);
  if (!caller?.principal) throw new Error("an RPC that needs a caller was reached without one");
  return { ...caller, principal: caller.principal };
}
