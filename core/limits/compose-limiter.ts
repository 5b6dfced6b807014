/** The chain of limiters of a program: the first that works decides, and the one in memory always works. */
import { FallbackLimiter, type LimiterEvent, type ProbedLimiter } from "./fallback-limiter.ts";
import { LeasingLimiter } from "./leasing-limiter.ts";
import type { Limiter } from "./limiter.ts";
import { MemoryLimiter } from "./memory-limiter.ts";

/**
 * @param limiters in order of preference; may be empty
 * @param now Unix epoch, milliseconds
 */
export function composeLimiter(
  limiters: readonly ProbedLimiter[],
  now: () => number,
  onEvent: (event: LimiterEvent) => void,
): Limiter {
  const memory = new MemoryLimiter(now);
  if (limiters.length === 0) return memory;
  const shared = limiters.reduceRight<Limiter>(
    (second, first) => new FallbackLimiter({ first, second, now, onEvent }),
    memory,
  );
  return new LeasingLimiter(shared, now);
}
