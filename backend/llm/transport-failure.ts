/** Classifies failures of the connection itself, the same for every provider that `fetch` reaches. */
import type { ParleyError } from "../../core/errors/parley-error.ts";
import { modelFailure, modelFailureReasonOf } from "./model-failure.ts";
import { hasCode, providerCause, wordsOf } from "./provider-cause.ts";

/** Where the call was when it failed. */
export interface TransportState {
  /** Whether the response's headers had come. */
  readonly answering: boolean;
  /** Cut out of the cause. */
  readonly secret?: string | undefined;
}

/**
 * The failure of a call whose connection broke (a model failure passes as it is). Refused or reset before the
 * headers is `provider-unavailable`; after them the answer is `truncated`, or `garbled` if something else than
 * the connection failed. Node's fetch has limits of its own, 300 s for the headers and between two pieces of
 * the body: they count as ours of the same kind.
 */
export function transportFailure(error: unknown, { answering, secret }: TransportState): ParleyError {
  if (modelFailureReasonOf(error)) return error as ParleyError;
  const cause = providerCause(wordsOf(error), secret);
  if (error instanceof SyntaxError) return modelFailure("garbled", { cause });
  if (hasCode(error, /^UND_ERR_HEADERS_TIMEOUT$/)) return modelFailure("first-token-timeout", { cause });
  if (hasCode(error, /^UND_ERR_BODY_TIMEOUT$/)) return modelFailure("stalled", { cause });
  if (!answering) return modelFailure("provider-unavailable", { cause });
  return modelFailure(isTransportError(error) ? "truncated" : "garbled", { cause });
}

/** undici says `TypeError: terminated` when a connection breaks under a body, mostly with a code of the system. */
function isTransportError(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  return (
    error.message === "terminated" || error.name === "AbortError" || hasCode(error, /^(?:UND_ERR_|E[A-Z]+$)/)
  );
}
