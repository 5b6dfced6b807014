/**
 * How long a key may live that a credential makes. One that expires must not make itself immortal by making keys, or
 * by being rotated: whoever holds a leaked one has it until its end and no longer. Operators are free of it.
 */
import type { Actor } from "./actor.ts";
import type { Violation } from "./violations.ts";

const DAY_MS = 86_400_000;
/**
 * A token lives for minutes and is renewed by its issuer, so its own end says nothing of its holder's rights: the
 * keys it makes last for a quarter, and then somebody with a new token has to want them still.
 */
const KEY_OF_TOKEN_MS_MAX = 90 * DAY_MS;

/** Until when the keys that this caller makes may live, Unix epoch, milliseconds; undefined: for ever. */
export function latestExpiryMs({ scopes, keyId, expiresAtMs }: Actor, nowMs: number): number | undefined {
  if (expiresAtMs === undefined || scopes.includes("operator")) return undefined;
  return keyId === "" ? nowMs + KEY_OF_TOKEN_MS_MAX : expiresAtMs;
}

/** What is wrong with `expiresAt` of an input, as far as its schema cannot see; absent is judged by others. */
export function expiryViolations(input: unknown, nowMs: number, latestMs: number | undefined): Violation[] {
  const { expiresAt } = (input ?? {}) as { expiresAt?: unknown };
  if (typeof expiresAt !== "string") return [];
  const atMs = Date.parse(expiresAt);
  if (atMs <= nowMs) return [{ field: "expiresAt", description: "is in the past" }];
  return latestMs !== undefined && atMs > latestMs ? [outlives(latestMs)] : [];
}

/** The problem of a key that would live longer than its maker may give. */
export function outlives(latestMs: number): Violation {
  const latest = new Date(latestMs).toISOString();
  return {
    field: "expiresAt",
    description: `must be set, to at most ${latest}: this credential expires too`,
  };
}
