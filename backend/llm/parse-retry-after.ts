/**
 * Reads how long a provider asks us to wait (RFC 9110, section 10.2.3, and the `retry-after-ms` of OpenAI).
 * Says nothing about whether a new try makes sense.
 */

/** A provider that asks for more is heard as asking for this: nobody waits longer in any case. */
export const RETRY_AFTER_MS_MAX = 3_600_000;

const DECIMAL = /^\d{1,12}(?:\.\d{1,9})?$/;
/** The form of HTTP dates that servers must send; `Date.parse` alone would take nearly anything. */
const HTTP_DATE = /^[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT$/;

/**
 * Milliseconds to wait, 0 to {@link RETRY_AFTER_MS_MAX}; undefined when the headers do not say it in a form we
 * know. A date counts from the response's own `Date`, so that our clock and the provider's need not agree;
 * without one it says nothing.
 */
export function parseRetryAfterMs(headers: Headers): number | undefined {
  const milliseconds = headers.get("retry-after-ms")?.trim();
  if (milliseconds && DECIMAL.test(milliseconds)) return bounded(Number(milliseconds));
  const value = headers.get("retry-after")?.trim();
  if (!value) return undefined;
  if (DECIMAL.test(value)) return bounded(Number(value) * 1000);
  const sentAt = headers.get("date")?.trim();
  if (!HTTP_DATE.test(value) || !sentAt || !HTTP_DATE.test(sentAt)) return undefined;
  return bounded(Date.parse(value) - Date.parse(sentAt));
}

function bounded(delayMs: number): number | undefined {
  return Number.isFinite(delayMs) ? Math.min(RETRY_AFTER_MS_MAX, Math.max(0, delayMs)) : undefined;
}
