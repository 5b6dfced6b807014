/**
 * Server-sent events (WHATWG HTML, section 9.2) out of an agent's events: one per A2AMessage, with its sequence as
 * `id`, its body's case as `event` and its ProtoJSON as `data`. Pulled, not pushed: a slow reader slows the source.
 */
import { envelopeToJson } from "../../core/messages/envelope.ts";
import type { A2AMessage } from "../../proto/gen/parley/v1/agent_service_pb.js";

/** Below the shortest idle time-out of common proxies (30 s), with room for a late timer. */
export const KEEP_ALIVE_MS = 15_000;

const KEEP_ALIVE_COMMENT = ": keep-alive\n\n";

/** Where the events come from, and who is told of what. */
export interface EventStreamOptions {
  /** The first event, where it has come already; else the stream begins with a comment, so that it begins at all. */
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
  const encoder = new TextEncoder();
  let ended = false;
  const end = () => {
    if (ended) return;
    ended = true;
    options.onEnd();
  };
  return new ReadableStream<Uint8Array>({
    start(controller) {
      if (options.first) options.onEvent(options.first);
      const text = options.first ? formatEvent(options.first) : KEEP_ALIVE_COMMENT;
      controller.enqueue(encoder.encode(text));
    },
    async pull(controller) {
      // A reader that does not read gets no comments either: they would pile up.
      const keepAlive = setInterval(() => {
        if (!ended && (controller.desiredSize ?? 0) > 0) {
          controller.enqueue(encoder.encode(KEEP_ALIVE_COMMENT));
        }
      }, options.keepAliveMs);
      const event = await nextEvent(options).finally(() => clearInterval(keepAlive));
      if (ended) return;
      if (event) {
        options.onEvent(event);
        controller.enqueue(encoder.encode(formatEvent(event)));
      } else {
        controller.close();
        end();
      }
    },
    cancel() {
      options.onCancel();
      end();
    },
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
