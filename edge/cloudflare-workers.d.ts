/** What this project uses of the runtime's own module; the whole of its types would replace those of Node and the web. */
declare module "cloudflare:workers" {
  import type { DurableObjectState } from "@cloudflare/workers-types";

  /** The bindings, also outside of a request. */
  export const env: object;

  /** A Durable Object whose public methods can be called through a stub. */
  export abstract class DurableObject<Env = unknown> {
    protected readonly ctx: DurableObjectState;
    protected readonly env: Env;
    constructor(ctx: DurableObjectState, env: Env);
  }
}

/** A global of the runtime: a socket for the client, and its other end. */
declare const WebSocketPair: typeof import("@cloudflare/workers-types").WebSocketPair;

/** A global of the runtime: what it answers to a text without waking the object. */
declare const WebSocketRequestResponsePair: typeof import("@cloudflare/workers-types").WebSocketRequestResponsePair;
