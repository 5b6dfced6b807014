/** The chain of limiters of a program: the first that works decides, and the one in memory always works. */
import { FallbackLimiter, type LimiterEvent, type ProbedLimiter } from "./fallback-limiter.ts";
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
  return limiters.reduceRight<Limiter>(
    (second, first) => new FallbackLimiter({ first, second, now, onEvent }),
    new MemoryLimiter(now),
  );
}
