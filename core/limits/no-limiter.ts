/** Counts nothing and admits everything: for deployments that limit elsewhere, and for measuring what limits cost. */
import type { Decision, Limiter, LimiterCall } from "./limiter.ts";

/** Every limit looks as if nobody had used it yet. */
export class NoLimiter implements Limiter {
  async takeRequest(call: LimiterCall): Promise<Decision> {
    return admitted(call);
  }

  async reserveTokens(call: LimiterCall): Promise<Decision> {
    return admitted(call);
  }

  async settleTokens(): Promise<void> {}
}

function admitted({ limit }: LimiterCall): Decision {
  return { admitted: true, remaining: limit, resetMs: 0, retryAfterMs: 0, decidedBy: "none" };
}
