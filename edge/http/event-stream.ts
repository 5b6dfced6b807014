/**
 * Server-sent events (WHATWG HTML, section 9.2) out of an agent's events: one per A2AMessage, with its sequence as
 * `id`, its body's case as `event` and its ProtoJSON as `data`.
 */
import { envelopeToJson } from "../../core/messages/envelope.ts";
import type { A2AMessage } from "../../proto/gen/parley/v1/agent_service_pb.js";
import { KEEP_ALIVE_COMMENT, pulledStream } from "./pulled-stream.ts";

/** Where the events come from, and who is told of what. */
export interface EventStreamOptions {
  /** The first event, where it has come already; else the stream begins with a comment. */
  first: A2AMessage | undefined;
  /** The events after it; ended once it has thrown, as generators are. */
  rest: AsyncIterator<A2AMessage>;
  keepAliveMs: number;
  /** Sees each event as it goes out. */
  onEvent(event: A2AMessage): void;
  /** The last event of a stream that failed. */
  toErrorEvent(error: unknown): A2AMessage;
  /** The reader has gone; `rest` should be ended. */
  onCancel(): void;
  /** Once, however the stream ended. */
  onEnd(): void;
}

/** The body of the answer, UTF-8. */
export function eventStream(options: EventStreamOptions): ReadableStream<Uint8Array> {
  const { first, keepAliveMs, onEvent, onCancel, onEnd } = options;
  const format = (event: A2AMessage) => {
    onEvent(event);
    return formatEvent(event);
  };
  return pulledStream({
    first: first ? format(first) : KEEP_ALIVE_COMMENT,
    next: async () => {
      const event = await nextEvent(options);
      return event && format(event);
    },
    ...{ keepAliveMs, onCancel, onEnd },
  });
}

async function nextEvent({ rest, toErrorEvent }: EventStreamOptions): Promise<A2AMessage | undefined> {
  try {
    const next = await rest.next();
    return next.done ? undefined : next.value;
  } catch (error) {
    return toErrorEvent(error);
  }
}

/** Events that are not of the task, such as an error of the gateway's own, have no position to resume from. */
function formatEvent(message: A2AMessage): string {
  const id = message.sequence > 0 ? `id: ${message.sequence}\n` : "";
  const name = message.body.case ?? "message";
  return `${id}event: ${name}\ndata: ${JSON.stringify(envelopeToJson(message))}\n\n`;
}
