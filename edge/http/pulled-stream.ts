/**
 * The body of an answer that is made piece by piece. Pulled, not pushed: a slow reader slows the source. Silence is
 * filled with comments of server-sent events, which readers of such streams ignore.
 */

/** Below the shortest idle time-out of common proxies (30 s), with room for a late timer. */
export const KEEP_ALIVE_MS = 15_000;

/** Says nothing; also the beginning of a stream that has nothing to say yet, so that it begins at all. */
export const KEEP_ALIVE_COMMENT = ": keep-alive\n\n";

/** Where the pieces come from, and who is told of what. */
export interface PulledStreamOptions {
  /** What has come already. */
  first: string;
  /** The next piece; undefined at the end. Never rejects. */
  next(): Promise<string | undefined>;
  keepAliveMs: number;
  /** The reader has gone; the source should be ended. */
  onCancel(): void;
  /** Once, however the stream ended. */
  onEnd(): void;
}

/** The body, UTF-8. */
export function pulledStream(options: PulledStreamOptions): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  let ended = false;
  const end = () => {
    if (ended) return;
    ended = true;
    options.onEnd();
  };
  return new ReadableStream<Uint8Array>({
    start(controller) {
      controller.enqueue(encoder.encode(options.first));
    },
    async pull(controller) {
      // A reader that does not read gets no comments either: they would pile up.
      const keepAlive = setInterval(() => {
        if (!ended && (controller.desiredSize ?? 0) > 0) {
          controller.enqueue(encoder.encode(KEEP_ALIVE_COMMENT));
        }
      }, options.keepAliveMs);
      const piece = await options.next().finally(() => clearInterval(keepAlive));
      if (ended) return;
      if (piece !== undefined) {
        controller.enqueue(encoder.encode(piece));
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
