/**
 * A bounded cache in front of lookups that may fail. What it promises, by the age of a value (counted from the
 * moment its lookup began):
 *
 * - under 30 s: answered from the cache.
 * - 30 s to 55 s: one caller asks the store, the others are answered from the cache meanwhile.
 * - from 55 s: every caller waits for the store, so that nothing that was taken back is honoured after 60 s.
 * - up to 10 min: still answered from the cache while the store is unavailable. A store that does not answer
 *   within 2 s counts as unavailable where there is a value to fall back on; after a failure nobody with such a
 *   value asks it again for 2 s.
 * - older, or never seen: the store's answer or its failure.
 *
 * That something is missing is remembered for 5 s, and never used in place of a failed lookup.
 */
import { ParleyError } from "../errors/parley-error.ts";
import type { Clock } from "../resilience/deadline.ts";
import type { TimeLimit } from "../resilience/time-limit.ts";
import { abortable } from "./abortable.ts";
import { LruMap } from "./lru-map.ts";
import { databaseUnavailable } from "./sql-failure.ts";

const FRESH_MS = 30_000;
/** Leaves 5 s of the promised 60 s for a lookup that fails slowly, the pause after it, and the next one. */
const SHARED_REFRESH_MS = 55_000;
const STALE_MS = 600_000;
const MISSING_MS = 5_000;
const REFRESH_WAIT_MS = 2_000;
const PAUSE_AFTER_FAILURE_MS = 2_000;
/** Missing things are kept apart, so that a flood of made-up ids cannot push real ones out. */
const MISSING_ENTRIES_MAX = 1_000;

/** What a cache needs to know. */
export interface LookupCacheOptions {
  /** Milliseconds; monotonic where the platform offers it. */
  readonly now: Clock;
  /** {@link startTimeLimit}, or a test's own. */
  readonly startTimeLimit: (limitMs: number) => TimeLimit;
  /** Whether concurrent lookups of one key share one call of the store. */
  readonly coalesce: boolean;
  readonly entriesMax: number;
}

/** Asks the store; `undefined` when the thing is not there. */
export type Lookup<Value> = (signal: AbortSignal | undefined) => Promise<Value | undefined>;

interface Entry<Value> {
  readonly value: Value;
  readonly loadedAtMs: number;
  /** When a caller last began to refresh it. */
  refreshStartedAtMs: number;
}

/** The cache of one kind of lookup. */
export class LookupCache<Value> {
  readonly #options: LookupCacheOptions;
  readonly #found: LruMap<Entry<Value>>;
  readonly #missing = new LruMap<number>(MISSING_ENTRIES_MAX);
  /** Lookups under way, by key; used only when coalescing. Bounded by the callers waiting. */
  readonly #underWay = new Map<string, Promise<Value | undefined>>();
  #pausedUntilMs = Number.NEGATIVE_INFINITY;

  constructor(options: LookupCacheOptions) {
    this.#options = options;
    this.#found = new LruMap(options.entriesMax);
  }

  /** The value of `key`, from the cache or by `lookup`, as the file's head describes. */
  async get(key: string, lookup: Lookup<Value>, signal?: AbortSignal): Promise<Value | undefined> {
    const nowMs = this.#options.now();
    const entry = this.#found.get(key);
    if (!entry || nowMs - entry.loadedAtMs >= STALE_MS) {
      const missingAtMs = this.#missing.get(key);
      if (missingAtMs !== undefined && nowMs - missingAtMs < MISSING_MS) return undefined;
      return this.#load(key, lookup, signal);
    }
    if (this.#isUsableAtOnce(entry, nowMs)) return entry.value;
    entry.refreshStartedAtMs = nowMs;
    return this.#refresh(key, lookup, signal);
  }

  /** Asks the store at the next `get`. A lookup under way at this moment may still bring the value from before. */
  forget(key: string): void {
    this.#found.delete(key);
    this.#missing.delete(key);
  }

  #isUsableAtOnce(entry: Entry<Value>, nowMs: number): boolean {
    const ageMs = nowMs - entry.loadedAtMs;
    if (ageMs < FRESH_MS || nowMs < this.#pausedUntilMs) return true;
    return ageMs < SHARED_REFRESH_MS && nowMs - entry.refreshStartedAtMs < REFRESH_WAIT_MS;
  }

  /** Asks the store within a short time; falls back on the value that is there. */
  async #refresh(key: string, lookup: Lookup<Value>, signal: AbortSignal | undefined) {
    const limit = this.#options.startTimeLimit(REFRESH_WAIT_MS);
    try {
      const either = signal ? AbortSignal.any([signal, limit.signal]) : limit.signal;
      return await this.#load(key, lookup, either);
    } catch (error) {
      if (signal?.aborted || !(limit.signal.aborted || isUnavailable(error))) throw error;
      this.#pausedUntilMs = this.#options.now() + PAUSE_AFTER_FAILURE_MS;
      const entry = this.#found.get(key);
      if (entry && this.#options.now() - entry.loadedAtMs < STALE_MS) return entry.value;
      throw isUnavailable(error) ? error : databaseUnavailable(error);
    } finally {
      limit.clear();
    }
  }

  #load(key: string, lookup: Lookup<Value>, signal: AbortSignal | undefined): Promise<Value | undefined> {
    if (!this.#options.coalesce) return this.#lookUp(key, lookup, signal);
    let underWay = this.#underWay.get(key);
    if (!underWay) {
      // Belongs to all who wait for it, so no one caller's signal may end it.
      underWay = this.#lookUp(key, lookup, undefined).finally(() => this.#underWay.delete(key));
      underWay.catch(() => undefined);
      this.#underWay.set(key, underWay);
    }
    return abortable(underWay, signal);
  }

  async #lookUp(key: string, lookup: Lookup<Value>, signal: AbortSignal | undefined) {
    const startedAtMs = this.#options.now();
    const value = await lookup(signal);
    const known = this.#found.get(key);
    // Of two lookups under way at once, the one that began later knows better.
    if (known && known.loadedAtMs > startedAtMs) return known.value;
    if (value === undefined) {
      this.#found.delete(key);
      this.#missing.set(key, startedAtMs);
    } else {
      this.#missing.delete(key);
      this.#found.set(key, {
        value,
        loadedAtMs: startedAtMs,
        refreshStartedAtMs: Number.NEGATIVE_INFINITY,
      });
    }
    return value;
  }
}

function isUnavailable(error: unknown): boolean {
  return error instanceof ParleyError && error.code === "unavailable";
}
