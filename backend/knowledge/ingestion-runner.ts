/**
 * Works through the steps of ingestion in the background: some at a time, each under a lease that is renewed while
 * it goes on. What a stopped or killed backend had begun is taken up again, here or elsewhere.
 */
import { type ParleyError, toParleyError } from "../../core/errors/parley-error.ts";
import { fullJitterMs, sleep } from "../../core/resilience/full-jitter.ts";
import type { SqlIngestionQueue } from "../stores/sql-ingestion-queue.ts";
import type { IngestionStep } from "./stored-document.ts";
import type { StepOutcome } from "./take-step.ts";

/** At once in one process: embedding waits for a server most of the time, and there are two cores. */
const CONCURRENCY = 2;
/** How often an idle backend looks for steps that another one has queued, or left. */
const POLL_MS = 2_000;
/** After a failure of the database. */
const FAILURE_PAUSE_MS = 5_000;
/** Between tries of one step: until the server that failed is likely to be back, and not so long as to forget it. */
const RETRY_BACKOFF = { baseMs: 2_000, capMs: 300_000 };
const RETRY_MINIMUM_MS = 1_000;
/** A step that fails with something that is no outage is tried this often. */
const ATTEMPTS_MAX = 5;
/** A step under way renews its lease at this interval, a third of the lease. */
const RENEW_MS = 20_000;
/** Old steps are looked for this often. */
const TIDY_MS = 3_600_000;
/** When that fails, for want of the database or the index, it is tried again after this time. */
const TIDY_RETRY_MS = 30_000;

/** What the runner works with, and who hears of it. */
export interface IngestionRunnerOptions {
  readonly queue: SqlIngestionQueue;
  /** Does a step; throws what keeps it from being done. */
  take(step: IngestionStep, signal: AbortSignal, onProgress: () => Promise<void>): Promise<StepOutcome>;
  /** On start and every hour, beside the steps. */
  tidy?(signal: AbortSignal): Promise<void>;
  readonly random: () => number;
  readonly onFailure: (failure: { error: unknown; step?: IngestionStep }) => void;
  /** Told of each step that is over. */
  readonly onFinished?: (step: IngestionStep) => void;
}

/** Runs until it is stopped. */
export class IngestionRunner {
  readonly #options: IngestionRunnerOptions;
  readonly #stop = new AbortController();
  readonly #loops: Promise<void>[] = [];
  #lastTenantId = "";
  /** Ends the pause of every idle loop. */
  #alarm = Promise.withResolvers<void>();

  constructor(options: IngestionRunnerOptions) {
    this.#options = options;
  }

  /** Begins. Idempotent. */
  start(): void {
    if (this.#loops.length > 0) return;
    for (let loop = 0; loop < CONCURRENCY; loop++) this.#loops.push(this.#run());
    this.#loops.push(this.#tidyForever());
  }

  /** There is work: says so to the loops that wait. */
  wake(): void {
    this.#alarm.resolve();
    this.#alarm = Promise.withResolvers<void>();
  }

  /** Ends it: steps under way are given back. */
  async stop(): Promise<void> {
    this.#stop.abort(new Error("the backend is shutting down"));
    this.wake();
    await Promise.all(this.#loops);
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const alarm = this.#alarm.promise;
      try {
        const step = await this.#options.queue.claim(this.#lastTenantId);
        if (step) await this.#takeUnderLease(step);
        else await pause(POLL_MS, alarm, signal);
      } catch (error) {
        if (signal.aborted) return;
        this.#options.onFailure({ error });
        await pause(FAILURE_PAUSE_MS, signal, signal);
      }
    }
  }

  async #takeUnderLease(step: IngestionStep): Promise<void> {
    const { queue, take, onFinished } = this.#options;
    this.#lastTenantId = step.tenantId;
    const lost = new AbortController();
    const signal = AbortSignal.any([this.#stop.signal, lost.signal]);
    const renew = async () => {
      if (!(await queue.renew(step, signal))) lost.abort(new Error("the step was taken by another backend"));
      signal.throwIfAborted();
    };
    const timer = setInterval(() => void renew().catch(() => undefined), RENEW_MS);
    try {
      const outcome = await take(step, signal, async () => signal.throwIfAborted());
      await this.#settle(step, outcome);
      onFinished?.(step);
    } catch (error) {
      if (this.#stop.signal.aborted) await queue.release(step).catch(() => undefined);
      else if (!lost.signal.aborted) await this.#fail(step, error);
    } finally {
      clearInterval(timer);
    }
  }

  async #settle(step: IngestionStep, outcome: StepOutcome): Promise<void> {
    const { queue, onFailure } = this.#options;
    if (outcome.state !== "again") return queue.finish(step, outcome.state, outcome);
    onFailure({ error: outcome.failure, step });
    const error = outcome.failure.message;
    await queue.retry(step, { error, delayMs: this.#delayMs(step), document: outcome.document });
  }

  async #fail(step: IngestionStep, thrown: unknown): Promise<void> {
    const { queue, onFailure } = this.#options;
    onFailure({ error: thrown, step });
    const error: ParleyError = toParleyError(thrown);
    const isOutage = error.retryable || error.code === "unavailable" || error.code === "resource_exhausted";
    if (isOutage || step.attempts < ATTEMPTS_MAX) {
      return queue.retry(step, { error: error.message, delayMs: this.#delayMs(step) });
    }
    const document = { state: "failed", error: error.message, chunksCount: 0 } as const;
    await queue.finish(step, "failed", { error: error.message, document });
  }

  #delayMs({ attempts }: IngestionStep): number {
    return fullJitterMs(attempts, RETRY_BACKOFF, this.#options.random, RETRY_MINIMUM_MS);
  }

  async #tidyForever(): Promise<void> {
    const { signal } = this.#stop;
    const { queue, tidy, onFailure } = this.#options;
    while (!signal.aborted) {
      let delayMs = TIDY_MS;
      try {
        await queue.deleteFinished(signal);
        await tidy?.(signal);
      } catch (error) {
        if (!signal.aborted) onFailure({ error });
        delayMs = TIDY_RETRY_MS;
      }
      await pause(delayMs, signal, signal);
    }
  }
}

/** Until the time is over, the alarm rings or the signal aborts. Each alarm is waited for once and then replaced. */
async function pause(
  delayMs: number,
  alarm: Promise<void> | AbortSignal,
  signal: AbortSignal,
): Promise<void> {
  const rung = new AbortController();
  if (!(alarm instanceof AbortSignal)) void alarm.then(() => rung.abort());
  await sleep(delayMs, AbortSignal.any([rung.signal, signal])).catch(() => undefined);
}
