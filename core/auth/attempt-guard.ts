/**
 * Slows guessing down. Counts failed credentials by network address, by key id, and by the pair of both; past a
 * threshold nothing is looked at until a penalty is over: 1 s, doubled by each further failure, at most a minute.
 *
 * Nobody can lock the owner of a key out with it:
 * - the count of a key id alone never refuses anybody. Past its threshold each further address has one guess
 *   in place of ten, so that the owner's right key is still looked at wherever it comes from.
 * - a pair that has shown the right secret before is looked at even during a penalty ("proven"). Its wrong guesses
 *   are answered like all others in a penalty, and 256 bits of secret do not fall to guesses.
 *
 * What is left: during a penalty of a whole address a key that never worked from there waits, at most a minute.
 *
 * Existing and made-up ids are counted alike. The state is one program's, or one isolate's, and forgotten with it.
 */
import { LruMap } from "../directory/lru-map.ts";
import type { Clock } from "../resilience/deadline.ts";

/** A person pasting the wrong key several times stays below it. */
const PAIR_FAILURES_MAX = 10;
/** Many callers may share an address, behind a company's gateway for instance. */
const ADDRESS_FAILURES_MAX = 100;
const KEY_ID_FAILURES_MAX = 100;
const PENALTY_MS_MIN = 1_000;
const PENALTY_MS_MAX = 60_000;
/** Failures further apart than this have nothing to do with each other. */
const MEMORY_MS = 600_000;
/** Of each kind; about 150 bytes each. The ones not met for longest are forgotten. */
const ENTRIES_MAX = 10_000;

/** Where a credential comes from and which it claims to be. */
export interface Attempt {
  /** A network address, as `networkOf` groups them. */
  readonly address: string;
  /** Undefined for a JWT: whoever forges one can name any key, so only its address counts. */
  readonly keyId: string | undefined;
}

/** What to do with an attempt. */
export interface AttemptDecision {
  /** 0 when it is to be verified and answered as usual; else it is refused, for this long. */
  readonly waitMs: number;
  /** Whether to verify it all the same and let it in if it is good. */
  readonly proven: boolean;
}

interface Failures {
  count: number;
  lastAtMs: number;
  blockedUntilMs: number;
}

/** The counts; bounded. */
export class AttemptGuard {
  readonly #now: Clock;
  readonly #pairs = new LruMap<Failures>(ENTRIES_MAX);
  readonly #addresses = new LruMap<Failures>(ENTRIES_MAX);
  readonly #keyIds = new LruMap<Failures>(ENTRIES_MAX);
  /** Pairs that have succeeded. */
  readonly #proven = new LruMap<true>(ENTRIES_MAX);

  /** @param now milliseconds; monotonic where the platform offers it */
  constructor(now: Clock) {
    this.#now = now;
  }

  /** Asked before a credential is looked at. */
  decide(attempt: Attempt): AttemptDecision {
    const pair = pairOf(attempt);
    const waitMs = Math.max(this.#waitMs(this.#pairs, pair), this.#waitMs(this.#addresses, attempt.address));
    return { waitMs, proven: waitMs > 0 && this.#proven.get(pair) === true };
  }

  /** The credential was good: what failed before it was a mistake of its owner, or did not find it. */
  succeeded(attempt: Attempt): void {
    const pair = pairOf(attempt);
    this.#proven.set(pair, true);
    this.#pairs.delete(pair);
    if (attempt.keyId !== undefined) this.#keyIds.delete(attempt.keyId);
  }

  /** The credential was a wrong guess. Not for what was refused during a penalty: penalties would never end. */
  failed(attempt: Attempt): void {
    this.#count(this.#addresses, attempt.address, ADDRESS_FAILURES_MAX);
    if (attempt.keyId === undefined) return;
    const ofKeyId = this.#count(this.#keyIds, attempt.keyId, Number.POSITIVE_INFINITY);
    this.#count(this.#pairs, pairOf(attempt), ofKeyId > KEY_ID_FAILURES_MAX ? 1 : PAIR_FAILURES_MAX);
  }

  #waitMs(failures: LruMap<Failures>, key: string): number {
    const waitMs = (failures.get(key)?.blockedUntilMs ?? 0) - this.#now();
    // Longer than any penalty: the clock was set back.
    return waitMs > PENALTY_MS_MAX ? 0 : Math.max(waitMs, 0);
  }

  #count(failures: LruMap<Failures>, key: string, failuresMax: number): number {
    const nowMs = this.#now();
    const known = failures.get(key);
    const count = known && nowMs - known.lastAtMs < MEMORY_MS ? known.count + 1 : 1;
    const penaltyMs = count < failuresMax ? 0 : PENALTY_MS_MIN * 2 ** Math.min(count - failuresMax, 10);
    const blockedUntilMs = penaltyMs === 0 ? 0 : nowMs + Math.min(penaltyMs, PENALTY_MS_MAX);
    failures.set(key, { count, lastAtMs: nowMs, blockedUntilMs });
    return count;
  }
}

/** Addresses have no spaces. */
function pairOf({ address, keyId = "" }: Attempt): string {
  return `${address} ${keyId}`;
}
