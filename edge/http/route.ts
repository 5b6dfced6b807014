/** What a route is: a method and a path, who may call it, what answers, and its description for `/openapi.json`. */
import type { Context, MiddlewareHandler } from "hono";
import type * as z from "zod";
import type { Scope } from "../../core/auth/principal.ts";
import type { EdgeEnv } from "./edge-env.ts";

/** Methods that routes take; GET brings HEAD with it. */
export type Method = "GET" | "POST" | "PUT" | "PATCH" | "DELETE";

/** One route. */
export interface Route {
  method: Method;
  /** With parameters in braces, as OpenAPI has them: `/api/v1/agents/{id}`. */
  path: string;
  /** The caller needs one of these; none: no credential is looked at. */
  scopes: readonly Scope[];
  handle(c: Context<EdgeEnv>): Response | Promise<Response>;
  operation: Operation;
  /** In place of the steps that look at the caller's credential, limit and scope; the request has a deadline. */
  authenticate?: MiddlewareHandler<EdgeEnv>;
}

/** How a route is described; the schemas of its input are those that validate it. */
export interface Operation {
  /** `operationId`: unique. */
  id: string;
  summary: string;
  query?: z.ZodObject;
  /** `required: false` where a request without a body is meant as `{}`. */
  body?: { schema: z.ZodType; mediaType?: string; required?: boolean };
  /** Request headers by name, with what they are for. */
  headers?: Readonly<Record<string, string>>;
  /** What comes back when it went well, by status; failures are the same on every route. */
  answers: Readonly<Record<number, Answer>>;
}

/** A body that comes back. */
export interface Answer {
  description: string;
  /** Of a JSON body; without it there is no body. */
  schema?: z.ZodType;
  /** Other media types that the body can have. */
  mediaTypes?: readonly string[];
  /** Of a body that is never JSON. */
  mediaType?: string;
}
