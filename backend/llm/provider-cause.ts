/**
 * What a provider said, made fit for the log: one bounded line without credentials. Providers do echo keys, and
 * `fetch` quotes whole URLs, so the foreign error itself is never kept.
 */

/** Longest text kept of a provider's words. */
const CAUSE_CHARACTERS_MAX = 1_000;
/** Deepest chain of causes that is followed. */
const CAUSES_MAX = 5;
const REDACTED = "***";

/** The cause of a model failure, from the provider's words; `secret` is cut out wherever it stands. */
export function providerCause(words: string, secret?: string): Error {
  // Cut generously before the replacements, so that a huge text costs nothing, and exactly after them.
  let text = words.slice(0, 2 * CAUSE_CHARACTERS_MAX);
  if (secret) text = text.replaceAll(secret, REDACTED);
  text = text
    .replace(/\bBearer\s+\S+/gi, `Bearer ${REDACTED}`)
    .replace(/\bsk-[\w*-]+/g, `sk-${REDACTED}`)
    .replace(/\/\/[^\s/@]+@/g, `//${REDACTED}@`)
    .replace(/\s+/g, " ");
  return new Error(text.slice(0, CAUSE_CHARACTERS_MAX));
}

/** An error and its causes as words, with the system's codes: `TypeError: fetch failed < ECONNREFUSED …`. */
export function wordsOf(error: unknown): string {
  return causesOf(error)
    .map((cause) =>
      cause instanceof Error ? `${cause.name}: ${codeOf(cause)} ${cause.message}` : String(cause),
    )
    .join(" < ");
}

/** Whether the error, or one of its causes, carries such a code, e.g. `UND_ERR_HEADERS_TIMEOUT`. */
export function hasCode(error: unknown, code: RegExp): boolean {
  return causesOf(error).some((cause) => cause instanceof Error && code.test(codeOf(cause)));
}

function causesOf(error: unknown): unknown[] {
  const causes: unknown[] = [];
  for (let cause = error; cause !== undefined && causes.length < CAUSES_MAX; ) {
    causes.push(cause);
    cause = cause instanceof Error ? cause.cause : undefined;
  }
  return causes;
}

function codeOf(error: Error): string {
  return "code" in error && typeof error.code === "string" ? error.code : "";
}
