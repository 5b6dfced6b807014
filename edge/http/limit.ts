/**
 * How much a caller may: counts each request, sets tokens aside for messages, and says in headers what is left
 * (draft-ietf-httpapi-ratelimit-headers-10). Refusals are `resource_exhausted`, 429.
 */
import type { Context, MiddlewareHandler } from "hono";
import type { Admittance, LimitedCaller, Quota } from "../../core/limits/admission.ts";
import { estimateTokens } from "../../core/limits/estimate-tokens.ts";
import { WINDOW_MS } from "../../core/limits/limiter.ts";
import { ReplyCharge } from "../../core/limits/reply-charge.ts";
import type { A2AMessage } from "../../proto/gen/parley/v1/agent_service_pb.js";
import type { EdgeEnv } from "./edge-env.ts";

/** A step after `authenticate`: takes one request from the caller's limit, or throws. */
export const limitRequests: MiddlewareHandler<EdgeEnv> = async function limitRequests(c, next) {
  const { admission } = c.get("composition");
  const admittance = await admission.countRequest(callerOf(c), (work) => runInBackground(c, work));
  announce(c, admittance);
  await next();
};

/** Sets tokens aside for a message, until its charge is settled; throws when a budget does not have them. */
export async function reserveTokens(c: Context<EdgeEnv>, message: A2AMessage): Promise<ReplyCharge> {
  const { admission } = c.get("composition");
  const caller = callerOf(c);
  const inBackground = (work: Promise<unknown>) => runInBackground(c, work);
  const tokens = estimateTokens(message, caller.limits);
  const admittance = await admission.reserveTokens(caller, tokens, inBackground);
  const charge = new ReplyCharge(admittance.reservation, message, inBackground);
  announce(c, admittance);
  c.get("lifetime").onEnd(() => charge.leave());
  return charge;
}

/** Lets work go on when the answer has gone out; its failure is nobody's any more. */
export function runInBackground(c: Context<EdgeEnv>, work: Promise<unknown>): void {
  c.executionCtx.waitUntil(work.catch(() => {}));
}

function callerOf(c: Context<EdgeEnv>): LimitedCaller {
  const { tenantId, keyId, subject } = c.get("principal");
  return { tenantId, keyId, subject, limits: c.get("limits") };
}

/** Every limit that has been looked at in this request stands in its answer, whatever that is. */
function announce(c: Context<EdgeEnv>, { quotas, decidedBy, refusal }: Admittance): void {
  const all = [...(c.get("quotas") ?? []), ...quotas];
  c.set("quotas", all);
  // Mostly one; two where the first was late for the request or for its tokens.
  const deciders = new Set([...(c.get("deciders") ?? []), decidedBy]);
  c.set("deciders", deciders);
  c.get("access").add({ limiter: [...deciders].join(",") });
  c.header("RateLimit-Policy", all.map(policyItem).join(", "));
  c.header("RateLimit", all.map(stateItem).join(", "));
  if (refusal) throw refusal;
}

function policyItem({ name, limit }: Quota): string {
  return `"${name}";q=${limit};w=${WINDOW_MS / 1000}`;
}

function stateItem({ name, remaining, resetMs }: Quota): string {
  return `"${name}";r=${remaining};t=${Math.ceil(resetMs / 1000)}`;
}
