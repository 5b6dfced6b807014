/** W3C Trace Context (level 1): accepts a caller's `traceparent` or starts a trace, and makes each hop's child. */

/** Header of the trace context. */
export const TRACEPARENT_HEADER = "traceparent";

const TRACEPARENT = /^00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})$/;

/** Where a request stands in its trace. */
export interface TraceContext {
  /** 32 lower-case hex digits; the same on every hop. */
  readonly traceId: string;
  /** 16 lower-case hex digits; this hop's own. */
  readonly spanId: string;
  /** Two hex digits, handed on as they came; `01` is "sampled". */
  readonly flags: string;
}

/** This hop's context: a child of the caller's when its header is valid, else the root of a new trace. */
export function acceptOrStartTrace(traceparent: string | null | undefined): TraceContext {
  const match = traceparent ? TRACEPARENT.exec(traceparent) : null;
  return {
    traceId: match?.[1] ?? randomHex(16),
    spanId: randomHex(8),
    flags: match?.[3] ?? "01",
  };
}

/** The header that hands the context to the next hop. */
export function traceparentOf({ traceId, spanId, flags }: TraceContext): string {
  return `00-${traceId}-${spanId}-${flags}`;
}

function randomHex(byteCount: number): string {
  const bytes = crypto.getRandomValues(new Uint8Array(byteCount));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
