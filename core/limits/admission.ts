/**
 * Lets a caller's requests and tokens through, or says why not: which counters a caller has, their names, and how a
 * refusal is worded. Where counts are kept is the limiter's business.
 */
import { ParleyError } from "../errors/parley-error.ts";
import { type Decision, type InBackground, type Limiter, type LimiterName, WINDOW_MS } from "./limiter.ts";
import type { Limits } from "./limits.ts";

/** A caller, as far as limits are concerned. */
export interface LimitedCaller {
  readonly tenantId: string;
  /** Of its API key; empty for callers without one, who are counted by their subject. */
  readonly keyId: string;
  readonly subject: string;
  readonly limits: Limits;
}

/** One limit and what is left of it; for headers. */
export interface Quota {
  readonly name: "requests" | "tokens" | "tenant-tokens";
  readonly limit: number;
  readonly remaining: number;
  readonly resetMs: number;
}

/** What was decided about a request or a reservation. */
export interface Admittance {
  readonly quotas: readonly Quota[];
  readonly decidedBy: LimiterName;
  /** `resource_exhausted`, to be thrown; undefined when it was admitted. */
  readonly refusal: ParleyError | undefined;
}

/** Tokens set aside for one call; of a refused one, none any more. */
export interface Reservation {
  readonly tokens: number;
  /**
   * Charges what the call has really cost, and returns the rest or takes what is missing; never rejects. Only the
   * first call counts.
   */
  settle(tokensUsed: number): Promise<void>;
}

const REASONS = {
  requests: { reason: "request-limit", limits: "requests" },
  tokens: { reason: "token-limit", limits: "tokens" },
  "tenant-tokens": { reason: "tenant-token-limit", limits: "tokens of all of your tenant's keys" },
} as const satisfies Record<Quota["name"], { reason: string; limits: string }>;

/** Counts callers on one limiter. */
export class Admission {
  readonly #limiter: Limiter;

  constructor(limiter: Limiter) {
    this.#limiter = limiter;
  }

  /** Counts one request. */
  async countRequest(caller: LimitedCaller, inBackground: InBackground): Promise<Admittance> {
    const limit = caller.limits.requestsPerMinute;
    const decision = await this.#limiter.takeRequest({ counter: keyCounter(caller), limit, inBackground });
    return admittance([{ name: "requests", limit, decision }]);
  }

  /**
   * Sets tokens aside in the caller's budget and its tenant's; where one of them refuses, neither is charged.
   *
   * @param tokens at most what the smaller budget holds
   */
  async reserveTokens(
    caller: LimitedCaller,
    tokens: number,
    inBackground: InBackground,
  ): Promise<Admittance & { reservation: Reservation }> {
    const { tokensPerMinute, tenantTokensPerMinute } = caller.limits;
    const budgets = [
      { name: "tokens", counter: keyCounter(caller), limit: tokensPerMinute },
      { name: "tenant-tokens", counter: tenantCounter(caller), limit: tenantTokensPerMinute },
    ] as const;
    const held = await Promise.all(
      budgets.map(async ({ name, counter, limit }) => {
        const call = { counter, limit, inBackground };
        return { name, limit, call, decision: await this.#limiter.reserveTokens(call, tokens) };
      }),
    );
    const outcome = admittance(held);
    const reserved = held.filter(({ decision }) => decision.admitted);
    const settle = once(async (tokensUsed: number) => {
      const difference = tokensUsed - tokens;
      if (difference === 0) return;
      await Promise.all(
        reserved.map(({ call, decision }) =>
          // What is not put back refills within a minute.
          this.#limiter.settleTokens(call, difference, decision.decidedBy).catch(() => {}),
        ),
      );
    });
    if (outcome.refusal) inBackground(settle(0));
    return { ...outcome, reservation: { tokens, settle } };
  }
}

/** Names are encoded, so that no tenant, key or subject can be spelled like another's. */
function tenantCounter({ tenantId }: LimitedCaller): string {
  return `tenant/${encode(tenantId)}`;
}

function keyCounter(caller: LimitedCaller): string {
  const { keyId, subject } = caller;
  const owner = keyId === "" ? `subject/${encode(subject)}` : `key/${encode(keyId)}`;
  return `${tenantCounter(caller)}/${owner}`;
}

function encode(text: string): string {
  return encodeURIComponent(text.toWellFormed());
}

interface Counted {
  readonly name: Quota["name"];
  readonly limit: number;
  readonly decision: Decision;
}

function admittance(counted: readonly Counted[]): Admittance {
  const refused = counted.filter(({ decision }) => !decision.admitted);
  return {
    quotas: counted.map(({ name, limit, decision: { remaining, resetMs } }) => ({
      ...{ name, limit, remaining, resetMs },
    })),
    decidedBy: counted[0]?.decision.decidedBy ?? "memory",
    refusal: refused[0] && refusal(refused[0], Math.max(...refused.map((one) => one.decision.retryAfterMs))),
  };
}

function refusal({ name, limit }: Counted, retryAfterMs: number): ParleyError {
  const { reason, limits } = REASONS[name];
  const windowSeconds = WINDOW_MS / 1000;
  return new ParleyError("resource_exhausted", `the limit of ${limit} ${limits} a minute is used up`, {
    reason,
    retryable: true,
    retryAfterMs,
    details: { limit, windowSeconds },
  });
}

function once(settle: (tokensUsed: number) => Promise<void>): (tokensUsed: number) => Promise<void> {
  let settled: Promise<void> | undefined;
  return (tokensUsed) => {
    settled ??= settle(tokensUsed);
    return settled;
  };
}
