/**
 * Reads from a refusal when the rate limit that was hit has room again: `x-ratelimit-reset-requests` and
 * `-tokens` of OpenAI and its like (`1s`, `6m0s`, `7.66s`, `12ms`), and the plain `x-ratelimit-reset` and
 * `ratelimit-reset` of proxies (seconds, or a moment of the Unix epoch). Whether that is worth waiting for is not
 * decided here.
 */
import { RETRY_AFTER_MS_MAX } from "./parse-retry-after.ts";

/** The limits of OpenAI's wire, each with what is left of it and when it is whole again. */
const KINDS = ["requests", "tokens"] as const;
const PLAIN_HEADERS = ["x-ratelimit-reset", "ratelimit-reset"] as const;

/** Go's notation of durations, as OpenAI and Groq send it. */
const DURATION =
  /^(?:(\d{1,4})h)?(?:(\d{1,6})m(?!s))?(?:(\d{1,9}(?:\.\d{1,9})?)s)?(?:(\d{1,9}(?:\.\d{1,9})?)ms)?$/;
const DECIMAL = /^\d{1,15}(?:\.\d{1,9})?$/;
/** Larger numbers are moments of the Unix epoch: as seconds the smaller bound is thirty years. */
const EPOCH_SECONDS_MIN = 1e9;
const EPOCH_MS_MIN = 1e12;

/**
 * Milliseconds until the limit that is used up has room, 0 to an hour; undefined when no header says it in a form
 * we know, or when no limit is used up. Where what is left is not said, the soonest counts: the others may have
 * had room. A moment of the epoch counts from the response's own `Date`.
 */
export function parseRateLimitResetMs(headers: Headers): number | undefined {
  const limits = KINDS.map((kind) => ({
    remaining: headers.get(`x-ratelimit-remaining-${kind}`)?.trim(),
    resetMs: parseDurationMs(headers.get(`x-ratelimit-reset-${kind}`)?.trim() ?? ""),
  })).filter(
    (limit): limit is { remaining: string | undefined; resetMs: number } => limit.resetMs !== undefined,
  );
  const usedUp = limits.filter(({ remaining }) => remaining !== undefined && Number(remaining) <= 0);
  const unknown = limits.filter(({ remaining }) => remaining === undefined);
  if (usedUp.length > 0) return bounded(Math.max(...usedUp.map(({ resetMs }) => resetMs)));
  if (unknown.length > 0) return bounded(Math.min(...unknown.map(({ resetMs }) => resetMs)));
  return parsePlainMs(headers);
}

/** A duration such as `1h2m3.5s`; a plain number is seconds. */
function parseDurationMs(text: string): number | undefined {
  if (text === "") return undefined;
  if (DECIMAL.test(text)) return Number(text) * 1000;
  const match = DURATION.exec(text);
  if (!match) return undefined;
  const [, hours = 0, minutes = 0, seconds = 0, milliseconds = 0] = match;
  return (Number(hours) * 3600 + Number(minutes) * 60 + Number(seconds)) * 1000 + Number(milliseconds);
}

function parsePlainMs(headers: Headers): number | undefined {
  const text = PLAIN_HEADERS.map((name) => headers.get(name)?.trim()).find((value) => value);
  if (text === undefined || !DECIMAL.test(text)) return text ? bounded(parseDurationMs(text)) : undefined;
  const value = Number(text);
  if (value < EPOCH_SECONDS_MIN) return bounded(value * 1000);
  const sentAtMs = Date.parse(headers.get("date") ?? "");
  return bounded((value < EPOCH_MS_MIN ? value * 1000 : value) - sentAtMs);
}

function bounded(delayMs = Number.NaN): number | undefined {
  return Number.isFinite(delayMs) ? Math.min(RETRY_AFTER_MS_MAX, Math.max(0, delayMs)) : undefined;
}
