/**
 * Reads the end of a response that nobody needs any more, in the background: only a connection whose response
 * was read to its end goes back to the pool; one that is left or aborted is closed.
 */

/** A server that has said everything but does not end within this time loses its connection. */
const DRAIN_MS = 1_000;

/** Reads and forgets what is left; cancels the response after a second. Never throws. */
export function drainBody(reader: ReadableStreamDefaultReader<Uint8Array>): void {
  const timer = setTimeout(() => void reader.cancel().catch(() => {}), DRAIN_MS);
  timer.unref();
  const readOn = async () => {
    while (!(await reader.read()).done);
  };
  readOn()
    .catch(() => {})
    .finally(() => clearTimeout(timer));
}
