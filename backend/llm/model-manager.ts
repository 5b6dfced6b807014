/**
 * The policy of answering: which model is asked, how often, how long, and what is said when none answers. Knows
 * models only by their port; what went wrong, and whether the same model may be asked again, is in the failure.
 */
import type { ParleyError } from "../../core/errors/parley-error.ts";
import type { Clock } from "../../core/resilience/deadline.ts";
import { fullJitterMs } from "../../core/resilience/full-jitter.ts";
import type { AnswerEvent, AnswerOptions, ModelAttempt, ModelLink } from "./answer-event.ts";
import { AnswerRun } from "./answer-run.ts";
import { type Call, type EndedCall, hedgedCall } from "./hedged-call.ts";
import { linkAbort } from "./linked-abort.ts";
import { type AttemptResult, attemptModel, FASTER_MODEL_ANSWERED } from "./model-attempt.ts";
import type { CallPass, NoPass, ProviderHealth } from "./provider-health.ts";

/** Between two tries of one model. */
const BACKOFF = { baseMs: 250, capMs: 2_000 };
/** Longest wait for the same model while another one could answer; beyond it that one is asked instead. */
export const RETRY_WAIT_MS_MAX = 3_000;
/** Longest wait for a model when there is no other: people wait longer for an answer than for an excuse. */
export const RETRY_WAIT_ALONE_MS_MAX = 20_000;
/** Longest wait for a turn at a busy host while another model could answer. */
export const GATE_WAIT_MS_MAX = 5_000;
/** How long a model that is left alone is waited for when there is no other: a blip is over by then. */
export const LAST_RESORT_WAIT_MS_MAX = 1_500;
/** Between two looks at whether it may be asked. */
const LAST_RESORT_LOOK_MS = 50;
/** Kept of the deadline so that the preset reply can still be delivered and recorded. */
export const PRESET_RESERVE_MS = 200;

/** All that the manager touches beside models. */
export interface ModelManagerOptions {
  readonly now: Clock;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  /** Rejects with the signal's reason when it aborts. */
  readonly sleep: (delayMs: number, signal: AbortSignal) => Promise<void>;
  /** What is known of providers; shared by all managers of the process. */
  readonly health: ProviderHealth;
  /** Told of every attempt when it is over, however it ended; `failure` has the cause. */
  readonly onAttempt?: (attempt: ModelAttempt, failure?: ParleyError) => void;
}

/** One answer on its way. */
interface Asking {
  readonly options: AnswerOptions;
  readonly run: AnswerRun;
  readonly startedAtMs: number;
  /** What is left for models, milliseconds; may be negative. */
  readonly leftMs: () => number;
}

/** Asks an agent's models until one answers. */
export class ModelManager {
  readonly #options: ModelManagerOptions;

  constructor(options: ModelManagerOptions) {
    this.#options = options;
  }

  /**
   * The answer as it comes. A model is tried again, after a full-jitter wait, while its failures are retryable,
   * its host has a retry budget and no text is out (or no other model is left); otherwise the next one answers
   * from the start, after a `restart` if text is out. Models that are known to fail are passed over; the last of
   * hopes is the one of them that may be asked soonest. When the chain or the deadline is used up, the preset
   * reply is the answer.
   *
   * Throws the reason of `signal`; `context-window` or `content-policy`, of which the caller has to know, when no
   * model is left that might take the text; nothing else.
   */
  async *answer(options: AnswerOptions): AsyncGenerator<AnswerEvent> {
    const { presetReply, deadline, signal } = options;
    const run = new AnswerRun(options);
    const leftMs = () => deadline.remainingMs() - PRESET_RESERVE_MS;
    const asking: Asking = { options, run, startedAtMs: this.#options.now(), leftMs };
    for (let link = run.next(); link; link = run.next()) {
      if (yield* this.#askLink(link, asking)) return;
    }
    if (yield* this.#askPassedOver(asking)) return;
    signal.throwIfAborted();
    if (run.refusal) throw run.refusal;
    yield* run.degraded(presetReply);
  }

  /**
   * Asks a link as often as it may be asked, or the one that overtook it; returns whether the answer is finished.
   */
  async *#askLink(first: ModelLink, asking: Asking): AsyncGenerator<AnswerEvent, boolean> {
    const { run, leftMs, options } = asking;
    let link = first;
    while (leftMs() > 0 && run.callsOf(link) < link.attemptsMax) {
      const pass = await this.#admit(link, asking);
      if ("why" in pass) {
        this.#passOver(link, pass, asking);
        return false;
      }
      const ended = yield* this.#callHedged(link, pass, asking);
      const last = ended.at(-1);
      for (const { link: called, result } of ended) if (result.failure) run.failed(called, result);
      if (!last) return false;
      if (!last.result.failure) {
        yield run.answered(last.link, last.result.answer);
        return true;
      }
      if (last.link !== link) {
        run.take(last.link);
        // What was abandoned has not failed: it may have another turn.
        if (ended.length === 1) run.putBack(link);
        link = last.link;
      }
      if (last.result.hadText && this.#hasNext(run)) return false;
      const waitMs = this.#retryWaitMs(last.result.failure, link, run);
      if (waitMs === undefined || waitMs >= leftMs()) return false;
      await this.#options.sleep(waitMs, options.signal);
    }
    return false;
  }

  /** One call of the link; of the next one, too, when this one takes long and the agent wants that. */
  async *#callHedged(
    link: ModelLink,
    pass: CallPass,
    asking: Asking,
  ): AsyncGenerator<AnswerEvent, EndedCall[]> {
    const { options, run } = asking;
    const first = this.#call(link, pass, asking);
    const target = run.upcoming().find(({ model }) => model.id !== link.model.id);
    if (!options.hedge || !target || run.callsMade > 1) {
      return [{ link, result: yield* first.events }];
    }
    const { health } = this.#options;
    const budget = health.hedgeBudget(target.model);
    budget.earn();
    const second = () => {
      const secondPass = budget.take() ? health.tryAdmit(target) : undefined;
      return secondPass && this.#call(target, secondPass, asking);
    };
    return yield* hedgedCall({ first, afterMs: options.hedge.afterMs, second });
  }

  #call(link: ModelLink, pass: CallPass, { options, run, startedAtMs, leftMs }: Asking): Call {
    const { request, presetReply, signal } = options;
    const { controller, unlink } = linkAbort(signal);
    run.called(link);
    const events = attemptModel({
      link,
      request: {
        ...request,
        messages: link.messages ?? request.messages,
        parameters: link.parameters,
        presetReply,
      },
      totalTimeoutMs: Math.max(0, Math.min(link.totalTimeoutMs, leftMs())),
      signal: controller.signal,
      now: this.#options.now,
      answerStartedAtMs: startedAtMs,
      toEvents: (text) => run.events(text),
      onFirstToken: () => pass.firstToken(),
      onEnd: (how) => {
        unlink();
        pass.end(how);
        this.#record(how.attempt, run, how.failure);
      },
    });
    return { link, events, abandon: () => controller.abort(FASTER_MODEL_ANSWERED) };
  }

  /** The last of hopes: of the models passed over, the one that may be asked soonest. */
  async *#askPassedOver(asking: Asking): AsyncGenerator<AnswerEvent, boolean> {
    const { run, leftMs, options } = asking;
    const { health, sleep, random } = this.#options;
    const waitMsOf = (link: ModelLink) => health.refusal(link)?.waitMs ?? 0;
    const [link] = run.takePassedOver().sort((a, b) => waitMsOf(a) - waitMsOf(b));
    if (!link || run.callsOf(link) >= link.attemptsMax) return false;
    const refusal = health.refusal(link);
    if (refusal?.why === "paused") {
      const waitMs = fullJitterMs(1, BACKOFF, random, refusal.waitMs);
      if (waitMs > RETRY_WAIT_ALONE_MS_MAX || waitMs >= leftMs()) return false;
      await sleep(waitMs, options.signal);
    }
    const pass = await this.#admitAtLast(link, asking);
    if (!pass) return false;
    const result: AttemptResult = yield* this.#call(link, pass, asking).events;
    if (result.failure) run.failed(link, result);
    else yield run.answered(link, result.answer);
    return !result.failure;
  }

  /** Leave to call the only model left, once another request has found it back or it may be tried itself. */
  async #admitAtLast(link: ModelLink, asking: Asking): Promise<CallPass | undefined> {
    const { now, sleep, random } = this.#options;
    const untilMs = now() + Math.min(LAST_RESORT_WAIT_MS_MAX, asking.leftMs());
    for (;;) {
      const pass = await this.#admit(link, asking, true);
      if (!("why" in pass)) return pass;
      if (pass.why === "busy" || now() >= untilMs) return undefined;
      await sleep(fullJitterMs(1, BACKOFF, random, LAST_RESORT_LOOK_MS), asking.options.signal);
    }
  }

  #admit(link: ModelLink, { options, run, leftMs }: Asking, lastResort = false): Promise<CallPass | NoPass> {
    options.signal.throwIfAborted();
    const patienceMs = this.#hasNext(run) ? GATE_WAIT_MS_MAX : link.firstTokenTimeoutMs;
    const waitMsMax = Math.min(patienceMs, leftMs());
    return this.#options.health.admit(link, { waitMsMax, signal: options.signal, lastResort });
  }

  #passOver(link: ModelLink, { why }: NoPass, { run, startedAtMs }: Asking): void {
    const outcome = why === "busy" ? "host-busy" : "circuit-open";
    if (why !== "busy") run.passOver(link);
    // Its calls are on record already.
    if (run.callsOf(link) > 0) return;
    const startedAfterMs = this.#options.now() - startedAtMs;
    this.#record({ model: link.model.id, outcome, startedAfterMs, durationMs: 0 }, run);
  }

  #record(attempt: ModelAttempt, run: AnswerRun, failure?: ParleyError): void {
    run.attempts.push(attempt);
    this.#options.onAttempt?.(attempt, failure);
  }

  /** Whether another model is left that would be called now. */
  #hasNext(run: AnswerRun): boolean {
    return run.upcoming().some((link) => !this.#options.health.refusal(link));
  }

  /** Undefined when the same model is not to be asked again. */
  #retryWaitMs(failure: ParleyError, link: ModelLink, run: AnswerRun): number | undefined {
    const { health, random } = this.#options;
    const number = run.callsOf(link);
    if (!failure.retryable || number >= link.attemptsMax || !health.allowsRetry(link.model)) return undefined;
    const waitMs = fullJitterMs(number, BACKOFF, random, failure.retryAfterMs);
    const waitMsMax = this.#hasNext(run) ? RETRY_WAIT_MS_MAX : RETRY_WAIT_ALONE_MS_MAX;
    return waitMs <= waitMsMax ? waitMs : undefined;
  }
}
