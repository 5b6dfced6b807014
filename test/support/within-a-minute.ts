/**
 * Keeps a test of a sliding window within one fixed window: the approximation may admit one more request in the first
 * moments of a new minute, which is not what such a test is about.
 */
import { setTimeout as sleep } from "node:timers/promises";

const MINUTE_MS = 60_000;

/** Waits for the next minute when less than `neededMs` of this one are left. */
export async function withinAMinute(neededMs: number): Promise<void> {
  const leftMs = MINUTE_MS - (Date.now() % MINUTE_MS);
  if (leftMs < neededMs) await sleep(leftMs + 1);
}
