/** The Worker as it is deployed, but for the times of its sessions, which a test can shorten by `TEST_TIMINGS`. */
import { env } from "cloudflare:workers";
import { createApp } from "../../edge/app.ts";
import { productionCompose } from "../../edge/composition.ts";
import { writeConsoleLine } from "../../edge/http/json-line.ts";
import { defineCallerObject } from "../../edge/sessions/caller-object.ts";
import { SESSION_TIMINGS } from "../../edge/sessions/session-limits.ts";
import { defineSessionObject } from "../../edge/sessions/session-object.ts";

const compose = productionCompose(writeConsoleLine);
const app = createApp({ compose, writeLine: writeConsoleLine, now: Date.now });
const timings = {
  ...SESSION_TIMINGS,
  ...JSON.parse((env as { TEST_TIMINGS?: string }).TEST_TIMINGS ?? "{}"),
};

/** Ends at once when it is told to, as an object does whose machine fails: what is in memory is gone. */
export class SessionObject extends defineSessionObject({ compose, writeLine: writeConsoleLine, timings }) {
  crash(): void {
    this.ctx.abort("a crash, for a test");
  }
}
export const CallerObject = defineCallerObject({ compose });
export { RateLimiterObject } from "../../edge/limits/rate-limiter-object.ts";
export { MailboxObject } from "../../edge/peers/mailbox-object.ts";
export default { fetch: app.fetch };
