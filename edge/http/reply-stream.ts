/** An answer that is a stream of a task's events, and what has to happen around it: log, end, failure, departure. */
import { create } from "@bufbuild/protobuf";
import type { Context } from "hono";
import { abortable } from "../../core/directory/abortable.ts";
import type { ParleyError } from "../../core/errors/parley-error.ts";
import { errorMessageBody, errorOfBody } from "../../core/messages/error-body.ts";
import { type A2AMessage, A2AMessageSchema } from "../../proto/gen/parley/v1/agent_service_pb.js";
import { noteReply } from "./backend-call.ts";
import type { EdgeEnv } from "./edge-env.ts";
import { eventStream } from "./event-stream.ts";
import { KEEP_ALIVE_MS } from "./pulled-stream.ts";
import { clientGone } from "./request-deadline.ts";

/** The events, and what is particular about them. */
export interface ReplyStream {
  /** The first event where it has come already; without it the answer begins with a comment. */
  first?: A2AMessage;
  events: AsyncIterator<A2AMessage>;
  /** Sees each event as it goes out. */
  onEvent?(event: A2AMessage): void;
  /** The failure of `events`, as the caller gets it. */
  toError(failure: unknown): ParleyError;
  /** Sender, receiver, context, task and message that an error of the gateway's own names. */
  about: Partial<Pick<A2AMessage, "senderId" | "receiverId" | "contextId" | "taskId" | "inReplyTo">>;
}

/** 200 with server-sent events; the request ends with them. */
export function answerWithEvents(c: Context<EdgeEnv>, stream: ReplyStream): Response {
  const headers = { "Content-Type": "text/event-stream" };
  // Nobody would read the stream, or end it.
  if (c.req.method === "HEAD") return c.body(null, 200, headers);
  const access = c.get("access");
  const body = eventStream({
    first: stream.first,
    rest: untilAborted(stream.events, c.get("abort").signal),
    keepAliveMs: KEEP_ALIVE_MS,
    onEvent: (event) => {
      noteReply(access, event);
      stream.onEvent?.(event);
      if (event.body.case === "error") access.fail(errorOfBody(event.body.value));
    },
    toErrorEvent: (failure) => {
      const error = stream.toError(failure);
      access.fail(error);
      // No position in the task, which may well go on.
      return create(A2AMessageSchema, {
        ...stream.about,
        body: errorMessageBody(error, c.get("requestId")),
      });
    },
    onCancel: () => leave(c),
    onEnd: c.get("lifetime").hold(),
  });
  return c.body(body, 200, headers);
}

/** The same values until the signal aborts, then its reason as a failure; what they come from is not ended by it. */
export async function* untilAborted<T>(
  values: AsyncIterator<T>,
  signal: AbortSignal,
): AsyncGenerator<T, void> {
  while (true) {
    const next = await abortable(values.next(), signal);
    if (next.done) return;
    yield next.value;
  }
}

/** The reader of an answer that is a stream has gone: ends what is done for it, and for it only. */
export function leave(c: Context<EdgeEnv>): void {
  c.get("access").fail(clientGone());
  c.get("abort").abort(clientGone());
}
