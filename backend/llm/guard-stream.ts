/**
 * Watches one call of one model: three limits of time, and the port's contract. Whatever the adapter does
 * (never answers, ignores its signal, ends as if nothing had happened), what comes out is a whole answer or the
 * right failure, in time. Decides nothing about new tries.
 */
import { ParleyError } from "../../core/errors/parley-error.ts";
import type { LanguageModel, ModelEvent, ModelRequest } from "./language-model.ts";
import { type LinkedAbort, linkAbort } from "./linked-abort.ts";
import { modelFailure } from "./model-failure.ts";
import { providerCause, wordsOf } from "./provider-cause.ts";

/** Why a model's signal aborts when its call has ended; one for all, because a DOMException each costs 4 %. */
const CALL_OVER = new ParleyError("canceled", "the call is over");

/** The limits of one call, milliseconds, and who may end it. */
export interface GuardOptions {
  /** From the call to the first text or tool call. */
  readonly firstTokenTimeoutMs: number;
  /** Between two events; only time spent waiting for the model counts. */
  readonly idleTimeoutMs: number;
  /** For the whole call. */
  readonly totalTimeoutMs: number;
  readonly signal: AbortSignal;
}

/**
 * The events of `model.stream(request)`, exactly one `finish` as the last one.
 *
 * Throws the signal's reason at once when it aborts; `first-token-timeout` when a limit passes before the first
 * token, `stalled` when one passes after it; `truncated` when the stream ends without `finish`; otherwise the
 * model's own failure. However it ends, the model's signal is aborted and its iterator told to return, without
 * waiting for either.
 */
export async function* guardStream(
  model: LanguageModel,
  request: ModelRequest,
  options: GuardOptions,
): AsyncGenerator<ModelEvent> {
  options.signal.throwIfAborted();
  const watch = new Watch(options);
  let events: AsyncIterator<ModelEvent> | undefined;
  try {
    events = model.stream(request, watch.signal)[Symbol.asyncIterator]();
    for (;;) {
      const { done, value: event } = await watch.next(events);
      if (done) throw modelFailure("truncated");
      if (event.type === "text-delta" && event.text === "") continue;
      if (event.type === "text-delta" || event.type === "tool-call") watch.sawToken();
      yield event;
      if (event.type === "finish") return;
    }
  } catch (error) {
    throw error === watch.signal.reason || error instanceof ParleyError
      ? error
      : modelFailure("garbled", { cause: providerCause(wordsOf(error)) });
  } finally {
    watch.end();
    events?.return?.()?.catch(() => {});
  }
}

/**
 * The clock and the signal of one call. States: before the first token (`#limitMs` is the first-token limit),
 * and after it (the idle limit); the total limit runs through both. Either limit aborts the signal with its
 * failure, and whoever waits in `next` is rejected by the abort, never by the adapter's reaction to it.
 */
class Watch {
  readonly #link: LinkedAbort;
  readonly #total: NodeJS.Timeout;
  readonly #idleTimeoutMs: number;
  #silence: NodeJS.Timeout;
  #hasToken = false;
  #waiting = false;
  #reject: (reason: unknown) => void = () => {};

  constructor({ signal, firstTokenTimeoutMs, idleTimeoutMs, totalTimeoutMs }: GuardOptions) {
    this.#link = linkAbort(signal);
    this.signal.addEventListener("abort", () => this.#reject(this.signal.reason), { once: true });
    this.#idleTimeoutMs = idleTimeoutMs;
    this.#total = setTimeout(() => this.#expire(), totalTimeoutMs);
    this.#silence = setTimeout(() => this.#expire(), firstTokenTimeoutMs);
  }

  get signal(): AbortSignal {
    return this.#link.controller.signal;
  }

  /** The next event, or the reason of an abort that comes first. One promise per event: none is raced twice. */
  next(events: AsyncIterator<ModelEvent>): Promise<IteratorResult<ModelEvent>> {
    return new Promise((resolve, reject) => {
      if (this.signal.aborted) return reject(this.signal.reason);
      this.#reject = reject;
      this.#waiting = true;
      if (this.#hasToken) this.#silence.refresh();
      const settle = (result: IteratorResult<ModelEvent>) => {
        this.#waiting = false;
        resolve(result);
      };
      events.next().then(settle, reject);
    });
  }

  /** The first token has come, or another one. */
  sawToken(): void {
    if (this.#hasToken) return;
    this.#hasToken = true;
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => this.#waiting && this.#expire(), this.#idleTimeoutMs);
  }

  /** Stops the clock and the model. */
  end(): void {
    clearTimeout(this.#total);
    clearTimeout(this.#silence);
    this.#link.unlink();
    this.#link.controller.abort(CALL_OVER);
  }

  #expire(): void {
    this.#link.controller.abort(modelFailure(this.#hasToken ? "stalled" : "first-token-timeout"));
  }
}
