/**
 * The limiter on Upstash Redis, by @upstash/ratelimit: its sliding window for requests, its token bucket for tokens.
 * Settling is a script of ours on the bucket's hash, because the library's own charge refuses what is not there,
 * so that a call that used more than was reserved would cost nothing, and its refund can fill a bucket beyond its
 * size. The version of the library is pinned, and a test holds both to the same layout.
 */
import { Ratelimit } from "@upstash/ratelimit";
import { Redis } from "@upstash/redis/cloudflare";
import { LruMap } from "../directory/lru-map.ts";
import { DECISION_TIMEOUT_MS, type ProbedLimiter } from "./fallback-limiter.ts";
import { type Decision, type LimiterCall, WINDOW_MS } from "./limiter.ts";

/** Buckets refill in steps; small ones, so that a caller does not wait for the end of a minute. */
const REFILL_INTERVAL_MS = 1_000;
/** The library fixes a limit when it is constructed; limiters are kept per limit, for so many of them. */
const LIMITERS_MAX = 256;
const REQUESTS_PREFIX = "parley:requests";
const TOKENS_PREFIX = "parley:tokens";

/** KEYS: the bucket. ARGV: its size, refill interval (ms), refill per interval, now (ms), difference. */
const SETTLE_SCRIPT = `
local limit, interval, refill = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local now, difference = tonumber(ARGV[4]), tonumber(ARGV[5])
local bucket = redis.call("HMGET", KEYS[1], "refilledAt", "tokens")
local refilledAt = tonumber(bucket[1] or now)
local tokens = tonumber(bucket[2] or limit)
local steps = math.max(0, math.floor((now - refilledAt) / interval))
tokens = math.min(limit, math.min(limit, tokens + steps * refill) - difference)
redis.call("HSET", KEYS[1], "refilledAt", refilledAt + steps * interval, "tokens", tokens)
redis.call("PEXPIRE", KEYS[1], (math.ceil((limit - tokens) / refill) + 1) * interval)
return 1
`;

/** Where Upstash is. */
export interface UpstashOptions {
  readonly url: string;
  readonly token: string;
  /** Unix epoch, milliseconds. */
  readonly now: () => number;
}

/** Throws what the client throws, and when no answer comes in time. */
export class UpstashLimiter implements ProbedLimiter {
  readonly name = "upstash";
  readonly #redis: Redis;
  readonly #now: () => number;
  readonly #windows = new LruMap<Ratelimit>(LIMITERS_MAX);
  readonly #buckets = new LruMap<Ratelimit>(LIMITERS_MAX);

  constructor({ url, token, now }: UpstashOptions) {
    this.#now = now;
    this.#redis = new Redis({
      url,
      token,
      // A function: with a signal itself the client turns an abort into a result that looks like an answer.
      signal: () => AbortSignal.timeout(DECISION_TIMEOUT_MS),
      retry: { retries: 1, backoff: () => 20 },
      // Pipelines gather the commands of several requests, whose I/O workerd keeps apart.
      enableAutoPipelining: false,
      enableTelemetry: false,
      readYourWrites: false,
    });
  }

  async takeRequest({ counter, limit }: LimiterCall): Promise<Decision> {
    const limiter = this.#limiter(this.#windows, limit, REQUESTS_PREFIX, () =>
      Ratelimit.slidingWindow(limit, `${WINDOW_MS} ms`),
    );
    const { success, remaining, reset, reason } = await limiter.limit(counter);
    requireDecision(reason);
    const resetMs = Math.max(1, reset - this.#now());
    return this.#decision(success, remaining, resetMs, resetMs);
  }

  async reserveTokens({ counter, limit }: LimiterCall, tokens: number): Promise<Decision> {
    const refill = refillPerInterval(limit);
    const limiter = this.#limiter(this.#buckets, limit, TOKENS_PREFIX, () =>
      Ratelimit.tokenBucket(refill, `${REFILL_INTERVAL_MS} ms`, limit),
    );
    const { success, remaining, reason } = await limiter.limit(counter, { rate: tokens });
    requireDecision(reason);
    // A refusal does not say what is left; time for the whole reservation is the most it can take without a debt.
    const missing = success ? limit - remaining : limit;
    const retryAfterMs = Math.ceil(tokens / refill) * REFILL_INTERVAL_MS;
    return this.#decision(success, remaining, Math.ceil(missing / refill) * REFILL_INTERVAL_MS, retryAfterMs);
  }

  async settleTokens({ counter, limit }: LimiterCall, difference: number): Promise<void> {
    await this.#redis.eval(
      SETTLE_SCRIPT,
      [`${TOKENS_PREFIX}:${counter}`],
      [limit, REFILL_INTERVAL_MS, refillPerInterval(limit), this.#now(), difference],
    );
  }

  probe(): Promise<unknown> {
    return this.#redis.ping();
  }

  #limiter(
    kept: LruMap<Ratelimit>,
    limit: number,
    prefix: string,
    algorithm: () => ReturnType<typeof Ratelimit.slidingWindow>,
  ): Ratelimit {
    const found = kept.get(String(limit));
    if (found) return found;
    const limiter = new Ratelimit({
      redis: this.#redis,
      limiter: algorithm(),
      prefix,
      // It would refuse small reservations after a large one was refused.
      ephemeralCache: false,
      analytics: false,
      enableProtection: false,
      // It would take a late answer for an admission; the client's own signal is earlier.
      timeout: 2 * DECISION_TIMEOUT_MS,
    });
    kept.set(String(limit), limiter);
    return limiter;
  }

  #decision(admitted: boolean, remaining: number, resetMs: number, retryAfterMs: number): Decision {
    return { admitted, remaining, resetMs, retryAfterMs: admitted ? 0 : retryAfterMs, decidedBy: this.name };
  }
}

/** May be a fraction: Redis keeps the bucket as decimal text. */
function refillPerInterval(limit: number): number {
  return (limit * REFILL_INTERVAL_MS) / WINDOW_MS;
}

function requireDecision(reason: string | undefined): void {
  if (reason === "timeout") throw new Error("Upstash did not answer in time");
}
