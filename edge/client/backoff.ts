/** When to try again: exponential backoff with full jitter, cut short when the network comes back. */

const BACKOFF_BASE_MS = 500;
const BACKOFF_MAX_MS = 30_000;

/** Milliseconds to wait before the attempt after `failures` failures: at random up to a limit that doubles. */
export function backoffMs(failures: number, random: () => number): number {
  const limitMs = Math.min(BACKOFF_MAX_MS, BACKOFF_BASE_MS * 2 ** Math.min(failures + 1, 10));
  return BACKOFF_BASE_MS + random() * (limitMs - BACKOFF_BASE_MS);
}

/** Ends after the time, when the signal aborts, or when the platform says that the network is back. Never rejects. */
export function waitOrOnline(durationMs: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, durationMs);
  const events = globalThis as Partial<Pick<EventTarget, "addEventListener" | "removeEventListener">>;
  const wake = () => resolve();
  signal.addEventListener("abort", wake);
  events.addEventListener?.("online", wake);
  return promise.finally(() => {
    clearTimeout(timer);
    signal.removeEventListener("abort", wake);
    events.removeEventListener?.("online", wake);
  });
}

/** Calls back when the platform says that the network is gone, where it says such things; answers how to stop that. */
export function onOffline(listener: () => void): () => void {
  const events = globalThis as Partial<Pick<EventTarget, "addEventListener" | "removeEventListener">>;
  events.addEventListener?.("offline", listener);
  return () => events.removeEventListener?.("offline", listener);
}
