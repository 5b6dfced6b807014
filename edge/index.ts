/** The Worker's entry: what the runtime calls, and nothing else. */
import { createApp } from "./app.ts";
import { productionCompose } from "./composition.ts";
import { writeConsoleLine } from "./http/json-line.ts";
import { defineCallerObject } from "./sessions/caller-object.ts";
import { SESSION_TIMINGS } from "./sessions/session-limits.ts";
import { defineSessionObject } from "./sessions/session-object.ts";

const compose = productionCompose(writeConsoleLine);
const app = createApp({ compose, writeLine: writeConsoleLine, now: Date.now });

export const SessionObject = defineSessionObject({
  compose,
  writeLine: writeConsoleLine,
  timings: SESSION_TIMINGS,
});
export const CallerObject = defineCallerObject({ compose });
export { RateLimiterObject } from "./limits/rate-limiter-object.ts";
export { MailboxObject } from "./peers/mailbox-object.ts";
export default { fetch: app.fetch };
