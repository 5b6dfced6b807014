/**
 * API keys, `parley_<key id>_<secret>`: made, taken apart and verified. Only the SHA-256 of the secret is ever
 * stored. Reading records from a store is not done here.
 */
import type { ApiKeyRecord } from "../directory/directory.ts";
import { LIMITS_DEFAULT, resolveLimits } from "../limits/limits.ts";
import type { Verification } from "./principal.ts";

/** Length of a key id: 12 characters of a-z 0-9 are 62 bits, enough never to meet by chance. */
const KEY_ID_CHARACTERS = 12;
/** Length of a secret: 43 characters of A-Z a-z 0-9 are 256 bits. */
const SECRET_CHARACTERS = 43;
const KEY_ID_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789";
const SECRET_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const API_KEY_PATTERN = /^parley_([a-z0-9]{12})_([A-Za-z0-9]{43})$/;

/** The two halves of an API key. */
export interface PresentedApiKey {
  keyId: string;
  secret: string;
}

/** A new key; `text` is what its owner sees, once. */
export interface NewApiKey extends PresentedApiKey {
  text: string;
}

/** Fills an array with random bytes, as `crypto.getRandomValues` does. */
export type RandomBytes = (bytes: Uint8Array<ArrayBuffer>) => Uint8Array<ArrayBuffer>;

/** The parts of a key's text, or undefined when it has not the form of a key. */
export function parseApiKey(text: string): PresentedApiKey | undefined {
  const match = API_KEY_PATTERN.exec(text);
  if (!match?.[1] || !match[2]) return undefined;
  return { keyId: match[1], secret: match[2] };
}

/** Makes a key from a source of cryptographic randomness. */
export function generateApiKey(random: RandomBytes): NewApiKey {
  const keyId = randomText(random, KEY_ID_ALPHABET, KEY_ID_CHARACTERS);
  const secret = generateSecret(random, SECRET_CHARACTERS);
  return { keyId, secret, text: `parley_${keyId}_${secret}` };
}

/** Random text of A-Z a-z 0-9, about 6 bits a character. */
export function generateSecret(random: RandomBytes, characters: number): string {
  return randomText(random, SECRET_ALPHABET, characters);
}

/** SHA-256 of a secret, lower-case hex (64 characters): what is stored in place of it. */
export type HashSecret = (secret: string) => string | Promise<string>;

/** {@link HashSecret} on any platform, by Web Crypto; slow on Node, where every digest goes through its thread pool. */
export async function hashSecret(secret: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(secret));
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * Checks a presented key against its record at the time `nowMs` (Unix epoch). The secret is hashed also when
 * there is no record, so that the time taken does not tell whether the id exists.
 */
export async function verifyApiKey(
  presented: PresentedApiKey,
  record: ApiKeyRecord | undefined,
  nowMs: number,
  hash: HashSecret = hashSecret,
): Promise<Verification> {
  const matches = equalInConstantTime(await hash(presented.secret), record?.secretSha256 ?? "");
  if (!record) return { ok: false, reason: "unknown-key" };
  if (!matches) return { ok: false, reason: "wrong-secret" };
  return checkApiKey(record, nowMs);
}

/** Whether a key, whose secret has been checked before, is still good at the time `nowMs`, and for what. */
export function checkApiKey(record: ApiKeyRecord | undefined, nowMs: number): Verification {
  if (!record) return { ok: false, reason: "unknown-key" };
  if (record.revokedAtMs !== undefined && record.revokedAtMs <= nowMs)
    return { ok: false, reason: "revoked" };
  if (record.expiresAtMs !== undefined && record.expiresAtMs <= nowMs)
    return { ok: false, reason: "expired" };
  return {
    ok: true,
    principal: {
      tenantId: record.tenantId,
      subject: record.subject,
      scopes: record.scopes,
      keyId: record.keyId,
      expiresAtMs: record.expiresAtMs,
    },
    limits: resolveLimits(record.limits, record.tenantLimits, LIMITS_DEFAULT),
  };
}

/** Compares without ending early; the lengths (always 64 for real hashes) are not secret. */
export function equalInConstantTime(a: string, b: string): boolean {
  let difference = a.length ^ b.length;
  for (let i = 0; i < a.length; i++) difference |= a.charCodeAt(i) ^ b.charCodeAt(i);
  return difference === 0;
}

/** Uniform text over an alphabet, by rejection: a plain modulo would favour the first letters. */
function randomText(random: RandomBytes, alphabet: string, length: number): string {
  const limit = 256 - (256 % alphabet.length);
  let text = "";
  while (text.length < length) {
    for (const byte of random(new Uint8Array(length))) {
      if (byte < limit && text.length < length) text += alphabet[byte % alphabet.length];
    }
  }
  return text;
}
