/**
 * The public keys of a token issuer, from its JWKS URL (RFC 7517). Fetched when needed, fresh for 10 min, usable for
 * 24 h while the endpoint fails. A key id that is not known makes it ask again, at most once in 30 s, so that rotated
 * keys are picked up and made-up ids cannot hammer the endpoint. An answer that is no good never replaces keys.
 *
 * Only plain data and imported keys outlive a request: a Worker must not await another request's promise.
 */
import { type CryptoKey, importJWK, type JWK } from "jose";
import { ParleyError } from "../errors/parley-error.ts";
import type { Clock } from "../resilience/deadline.ts";
import { readJwks } from "./read-jwks.ts";

const FRESH_MS = 600_000;
const STALE_MS = 86_400_000;
const REFETCH_INTERVAL_MS = 30_000;
/** While no key is known, callers are refused anyway; asking more often gets them back sooner. */
const RETRY_INTERVAL_MS = 2_000;
const FETCH_TIMEOUT_MS = 2_000;
/** Before the first keys are there, this many callers may fetch at once; the others are told to come again. */
const FETCHES_MAX = 32;

/** What each algorithm needs of a key. */
const KEY_TYPES = {
  RS256: { kty: "RSA", crv: undefined },
  ES256: { kty: "EC", crv: "P-256" },
  EdDSA: { kty: "OKP", crv: "Ed25519" },
} as const;

/** An algorithm of public keys that is accepted. */
export type PublicKeyAlgorithm = keyof typeof KEY_TYPES;

/** All of them. */
export const PUBLIC_KEY_ALGORITHMS = Object.keys(KEY_TYPES) as PublicKeyAlgorithm[];

/** What keys are fetched with. */
export interface JwksOptions {
  readonly url: string;
  readonly fetch: typeof globalThis.fetch;
  /** Milliseconds; monotonic where the platform offers it. */
  readonly now: Clock;
}

/** The part of a token's header that names its key. */
export interface KeyName {
  readonly alg: string;
  readonly kid?: string | undefined;
}

interface KnownKeys {
  readonly keys: readonly JWK[];
  readonly fetchedAtMs: number;
  /** Imported keys, by position and algorithm. */
  readonly imported: Map<string, CryptoKey>;
}

/** The keys of one issuer. */
export class Jwks {
  readonly #options: JwksOptions;
  #known: KnownKeys | undefined;
  /** When a fetch last began. */
  #askedAtMs = Number.NEGATIVE_INFINITY;
  /** When the last fetch failed; undefined when it did not. */
  #failedAtMs: number | undefined;
  #fetching = 0;

  constructor(options: JwksOptions) {
    this.#options = options;
  }

  /**
   * The key of that name, or undefined when the issuer has none, or several that fit a token without `kid`.
   *
   * @throws ParleyError `unavailable` when the issuer would have to be asked and cannot be
   */
  async find(name: KeyName): Promise<CryptoKey | undefined> {
    const known = await this.#current();
    const key = await importedKey(known, name);
    if (key) return key;
    const sinceAskedMs = this.#options.now() - this.#askedAtMs;
    if (sinceAskedMs >= REFETCH_INTERVAL_MS) return importedKey(await this.#fetch(), name);
    // Whether the issuer has it by now cannot be said.
    if (this.#fetching > 0 || this.#failedAtMs !== undefined) throw unavailable();
    // It may have come with an answer that another request waited for.
    return this.#known && this.#known !== known ? importedKey(this.#known, name) : undefined;
  }

  /** The keys to go by; asks the issuer when they are too old. */
  async #current(): Promise<KnownKeys> {
    const nowMs = this.#options.now();
    const known = this.#known;
    if (!known || nowMs - known.fetchedAtMs >= STALE_MS) {
      if (this.#failedAtMs !== undefined && nowMs - this.#failedAtMs < RETRY_INTERVAL_MS) throw unavailable();
      return this.#fetch();
    }
    if (nowMs - known.fetchedAtMs < FRESH_MS || nowMs - this.#askedAtMs < REFETCH_INTERVAL_MS) return known;
    return this.#fetch().catch(() => known);
  }

  async #fetch(): Promise<KnownKeys> {
    if (this.#fetching >= FETCHES_MAX) throw unavailable();
    const startedAtMs = this.#options.now();
    this.#askedAtMs = startedAtMs;
    this.#fetching += 1;
    try {
      const known = {
        keys: await fetchKeys(this.#options),
        fetchedAtMs: startedAtMs,
        imported: new Map<string, CryptoKey>(),
      };
      this.#failedAtMs = undefined;
      this.#known = known;
      return known;
    } catch (error) {
      this.#failedAtMs = this.#options.now();
      throw unavailable(error);
    } finally {
      this.#fetching -= 1;
    }
  }
}

/**
 * A caller that goes away does not end the fetch: its outcome is everybody's, and its time is short.
 */
async function fetchKeys({ url, fetch }: JwksOptions): Promise<JWK[]> {
  const response = await fetch(url, {
    headers: { accept: "application/jwk-set+json, application/json" },
    // Not "error", which workerd does not know; a redirect is then a status that is not 200.
    redirect: "manual",
    signal: AbortSignal.timeout(FETCH_TIMEOUT_MS),
  });
  return readJwks(response);
}

async function importedKey(known: KnownKeys, { alg, kid }: KeyName): Promise<CryptoKey | undefined> {
  if (!Object.hasOwn(KEY_TYPES, alg)) return undefined;
  const { kty, crv } = KEY_TYPES[alg as PublicKeyAlgorithm];
  const fitting = known.keys.filter(
    (key) =>
      key.kty === kty &&
      (crv === undefined || key.crv === crv) &&
      (key.alg === undefined || key.alg === alg) &&
      (kid === undefined || key.kid === kid),
  );
  const [jwk] = fitting;
  if (!jwk || fitting.length > 1) return undefined;
  const cacheKey = `${known.keys.indexOf(jwk)} ${alg}`;
  let key = known.imported.get(cacheKey);
  if (!key) {
    key = (await importJWK(jwk, alg)) as CryptoKey;
    known.imported.set(cacheKey, key);
  }
  return key;
}

function unavailable(cause?: unknown): ParleyError {
  return new ParleyError("unavailable", "tokens cannot be verified at the moment", {
    reason: "token-keys-unavailable",
    retryable: true,
    retryAfterMs: RETRY_INTERVAL_MS,
    cause,
  });
}
