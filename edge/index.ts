/** The Worker's entry: what the runtime calls, and nothing else. */
import { createApp } from "./app.ts";
import { productionCompose } from "./composition.ts";
import { writeConsoleLine } from "./http/json-line.ts";

const app = createApp({
  compose: productionCompose(writeConsoleLine),
  writeLine: writeConsoleLine,
  now: Date.now,
});

export { RateLimiterObject } from "./limits/rate-limiter-object.ts";
export default { fetch: app.fetch };
