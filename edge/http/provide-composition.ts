/** Gives every later step what was composed from the environment; an unusable environment is an internal error. */
import type { MiddlewareHandler } from "hono";
import type { Compose } from "../composition.ts";
import type { EdgeEnv } from "./edge-env.ts";

/** @param compose see {@link Compose} */
export function provideComposition(compose: Compose): MiddlewareHandler<EdgeEnv> {
  return async function provideComposition(c, next) {
    const composition = compose(c.env);
    c.get("access").threshold = composition.config.logLevel;
    c.set("composition", composition);
    await next();
  };
}
