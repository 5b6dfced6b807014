/**
 * What a reply has cost is known at its end, and a caller may leave before that: then the reply is followed on without
 * it, so that it is charged the real cost. Leaving early is no way to be answered for less, and not for more either.
 */
import type { Context } from "hono";
import { abortable } from "../../core/directory/abortable.ts";
import { toParleyError } from "../../core/errors/parley-error.ts";
import type { ReplyCharge } from "../../core/limits/reply-charge.ts";
import type { A2AMessage } from "../../proto/gen/parley/v1/agent_service_pb.js";
import type { BackendCall } from "../backend/agent-backend.ts";
import { backendCall } from "./backend-call.ts";
import type { EdgeEnv } from "./edge-env.ts";
import { runInBackground } from "./limit.ts";

/** Cloudflare ends a request's work 30 s after its caller has gone; what is not known by then is charged by estimate. */
const FOLLOW_MS_MAX = 25_000;

/** A call of which the charge hears that its message was sent before. */
export function chargedCall(c: Context<EdgeEnv>, charge: ReplyCharge): BackendCall {
  return { ...backendCall(c), onKnownTask: () => charge.wasKnown() };
}

/** The same, which does not end when the caller leaves, but with the request's time, or a while after. */
export function outlivingCall(c: Context<EdgeEnv>, charge: ReplyCharge): BackendCall {
  const { signal } = c.get("abort");
  const call = new AbortController();
  const onAbort = () => {
    const followMs = Math.min(FOLLOW_MS_MAX, c.get("deadline").remainingMs());
    if (followMs <= 0) call.abort(signal.reason);
    else setTimeout(() => call.abort(signal.reason), followMs);
  };
  if (signal.aborted) onAbort();
  else signal.addEventListener("abort", onAbort, { once: true });
  return { ...chargedCall(c, charge), signal: call.signal };
}

/** Charges a reply when it comes, or fails; the wait for it ends when the caller leaves, and nothing else does. */
export function chargedReply(
  c: Context<EdgeEnv>,
  charge: ReplyCharge,
  reply: Promise<A2AMessage>,
): Promise<A2AMessage> {
  charge.isFollowed = true;
  const charged = reply.then(
    (event) => charge.note(event),
    (failure: unknown) => charge.fail(toParleyError(failure)),
  );
  runInBackground(c, charged);
  return abortable(reply, c.get("abort").signal);
}

/** The same events, each charged as it comes; read to their end when the caller leaves. */
export function chargedEvents(
  c: Context<EdgeEnv>,
  charge: ReplyCharge,
  events: AsyncIterator<A2AMessage, void>,
): AsyncIterableIterator<A2AMessage, void> {
  charge.isFollowed = true;
  const ended = Promise.withResolvers<void>();
  const charged: AsyncIterableIterator<A2AMessage, void> = {
    [Symbol.asyncIterator]: () => charged,
    async next() {
      try {
        const result = await events.next();
        if (result.done) ended.resolve();
        else charge.note(result.value);
        return result;
      } catch (failure) {
        charge.fail(toParleyError(failure));
        ended.resolve();
        throw failure;
      }
    },
  };
  const readOn = async () => {
    for await (const _ of charged) {
      // Charged on the way.
    }
  };
  const { signal } = c.get("abort");
  const onAbort = () => void readOn().catch(() => undefined);
  signal.addEventListener("abort", onAbort, { once: true });
  // Told to the platform now: when the caller has gone, only what it knows of goes on.
  runInBackground(c, ended.promise);
  return charged;
}
