/**
 * Tells a slow answer from a hung backend: while a call has no answer, its address is asked now and then whether it
 * still serves, and the call is ended as failed when it does not. A model may take its time; a process must not.
 */
import { Code, ConnectError } from "@connectrpc/connect";
import { startTimeLimit } from "../../core/resilience/time-limit.ts";

/** A reply that takes longer than this is slow enough to ask. */
const FIRST_CHECK_MS = 3_000;
const NEXT_CHECK_MS = 5_000;
/** A backend that serves says so in milliseconds. */
const CHECK_LIMIT_MS = 2_000;

/** A call that is under way, and how to ask about it. */
export interface WatchedCall<Result> {
  /** Rejects when the address does not serve, or does not say so before the signal aborts. */
  check: (signal: AbortSignal) => Promise<void>;
  /** Ends the call on the wire; its answer rejects then. */
  end: () => void;
  answer: Promise<Result>;
}

/** @throws ConnectError `unavailable` when the address stopped serving before the call was answered */
export async function whileServing<Result>({ check, end, answer }: WatchedCall<Result>): Promise<Result> {
  const answered = new AbortController();
  let hung = false;
  const watch = async () => {
    const limit = startTimeLimit(CHECK_LIMIT_MS);
    try {
      await check(AbortSignal.any([answered.signal, limit.signal]));
      if (!answered.signal.aborted) timer = setTimeout(watch, NEXT_CHECK_MS);
    } catch {
      if (answered.signal.aborted) return;
      hung = true;
      end();
    } finally {
      limit.clear();
    }
  };
  let timer = setTimeout(watch, FIRST_CHECK_MS);
  try {
    return await answer;
  } catch (error) {
    if (!hung) throw error;
    throw new ConnectError("the address stopped answering", Code.Unavailable, undefined, undefined, error);
  } finally {
    clearTimeout(timer);
    answered.abort();
  }
}
