/** What a request carries through the middleware and routes of the edge. */
import type { Principal } from "../../core/auth/principal.ts";
import type { Quota } from "../../core/limits/admission.ts";
import type { Limits } from "../../core/limits/limits.ts";
import type { TraceContext } from "../../core/messages/trace-context.ts";
import type { Deadline } from "../../core/resilience/deadline.ts";
import type { Composition } from "../composition.ts";
import type { AccessRecord } from "./access-record.ts";
import type { RequestLifetime } from "./request-lifetime.ts";

/** Hono's environment; each variable is there from the middleware named beside it on. */
export interface EdgeEnv {
  Bindings: object;
  Variables: {
    /** `requestContext`: always. */
    requestId: string;
    trace: TraceContext;
    access: AccessRecord;
    lifetime: RequestLifetime;
    /** `provideComposition`: everywhere but on `/healthz`. */
    composition: Composition;
    /** `requestDeadline` */
    deadline: Deadline;
    /** Aborts when the time is up or the client has gone; its reason is always a ParleyError. */
    abort: AbortController;
    /** `authenticate` */
    principal: Principal;
    limits: Limits;
    /** `limitRequests`: what has been counted so far, for the answer's headers. */
    quotas: readonly Quota[] | undefined;
    /** Which limiters have decided on it, in their order, each once. */
    deciders: ReadonlySet<string> | undefined;
  };
}
