/** What every call to the backend carries: who calls, signed; which request and trace it belongs to; what time is left. */
import type { CallOptions } from "@connectrpc/connect";
import {
  BACKEND_TOKEN_HEADER,
  importBackendTokenSecret,
  signBackendToken,
} from "../../core/auth/backend-token.ts";
import { DELTA_INTERVAL_HEADER } from "../../core/messages/joined-deltas.ts";
import { KNOWN_TASK_HEADER } from "../../core/messages/known-task.ts";
import { REQUEST_ID_HEADER } from "../../core/messages/request-id.ts";
import { TRACEPARENT_HEADER, traceparentOf } from "../../core/messages/trace-context.ts";
import type { Clock } from "../../core/resilience/deadline.ts";
import type { BackendCall } from "./agent-backend.ts";

/** Makes Connect's options of a call; throws `deadline_exceeded` when no time is left. */
export type MakeCallOptions = (call: BackendCall, signal: AbortSignal) => Promise<CallOptions>;

/** For the headers of an answer, and for those of a failure, which Connect does not show to `onHeader`. */
export function noteKnownTask(call: BackendCall, header: Headers): void {
  if (header.has(KNOWN_TASK_HEADER)) call.onKnownTask?.();
}

/** @param now Unix epoch, milliseconds */
export function createCallOptions(tokenSecret: string, now: Clock): MakeCallOptions {
  /** Kept as the key itself, once there: a promise of one request must not be awaited by another. */
  let tokenKey: Awaited<ReturnType<typeof importBackendTokenSecret>> | undefined;
  return async (call, signal) => {
    const timeoutMs = Math.ceil(call.deadline.remainingMsOrThrow());
    tokenKey ??= await importBackendTokenSecret(tokenSecret);
    const { principal, requestId, address, deltaIntervalMs } = call;
    const claims = { principal, requestId, ...(address !== undefined && { address }) };
    return {
      signal,
      timeoutMs,
      onHeader: (header) => noteKnownTask(call, header),
      headers: {
        [BACKEND_TOKEN_HEADER]: await signBackendToken(tokenKey, claims, now()),
        [REQUEST_ID_HEADER]: requestId,
        [TRACEPARENT_HEADER]: traceparentOf(call.trace),
        ...(deltaIntervalMs !== undefined && { [DELTA_INTERVAL_HEADER]: String(deltaIntervalMs) }),
      },
    };
  };
}
