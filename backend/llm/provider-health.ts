/**
 * What is known of providers across all requests: which models to leave alone, which hosts to spare retries and
 * second calls. One for the whole process. Decides whether a call may be made now, and learns from how it went.
 */
import { LruMap } from "../../core/directory/lru-map.ts";
import type { Clock } from "../../core/resilience/deadline.ts";
import type { ModelLink } from "./answer-event.ts";
import { circuitFailureOf, type HowItWent, spendsRetryBudget } from "./call-verdict.ts";
import { type CallPermit, CircuitBreaker, type Refusal } from "./circuit-breaker.ts";
import type { LeaveGate } from "./concurrency-gate.ts";
import { HedgeBudget } from "./hedge-budget.ts";
import type { LanguageModel } from "./language-model.ts";
import { RetryBudget } from "./retry-budget.ts";

/** Models remembered; names come from agents' configurations, so anybody can make up more. */
const MODELS_MAX = 1_000;
/** Hosts come from this deployment's own configuration. */
const HOSTS_MAX = 100;

/** A model that is left alone from now on, or asked again. */
export interface HealthChange {
  readonly model: string;
  readonly host: string;
  readonly state: "open" | "closed";
  /** How long it is left alone. */
  readonly openMs?: number;
}

/** All that it touches. */
export interface ProviderHealthOptions {
  readonly now: Clock;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  readonly onChange?: (change: HealthChange) => void;
}

/** Leave for one call of a link; ended once. */
export interface CallPass {
  /** The model has begun to answer. */
  firstToken(): void;
  /** How it went; gives the place at the gate back. */
  end(how: HowItWent): void;
}

/** Why there is no call: the breaker's reason, or a host with as many calls as it may have. */
export type NoPass = Refusal | { readonly why: "busy" };

/** How a pass is asked for. */
export interface AdmitOptions {
  /** Longest wait at the host's gate. */
  readonly waitMsMax: number;
  readonly signal: AbortSignal;
  /** Whether nobody else is left to ask. */
  readonly lastResort?: boolean;
}

/** The health of all providers. */
export class ProviderHealth {
  readonly #options: ProviderHealthOptions;
  readonly #breakers = new LruMap<CircuitBreaker>(MODELS_MAX);
  readonly #retryBudgets = new LruMap<RetryBudget>(HOSTS_MAX);
  readonly #hedgeBudgets = new LruMap<HedgeBudget>(HOSTS_MAX);

  constructor(options: ProviderHealthOptions) {
    this.#options = options;
  }

  /** Why the link would not be called now; undefined when it would. */
  refusal({ model }: ModelLink): Refusal | undefined {
    return this.#breakerOf(model)?.refusal();
  }

  /** Leave for a call, after a turn at the host's gate. Rejects with the reason of `signal`. */
  async admit(link: ModelLink, options: AdmitOptions): Promise<CallPass | NoPass> {
    const breaker = this.#breakerOf(link.model);
    const enter = () => (options.lastResort ? breaker?.enterAsLastResort() : breaker?.enter());
    const refusal = options.lastResort ? undefined : breaker?.refusal();
    if (refusal) return refusal;
    const leave = await link.gate?.enter(options.waitMsMax, options.signal);
    if (link.gate && !leave) return { why: "busy" };
    return this.#pass(link.model, { breaker, permit: enter(), leave });
  }

  /** The same at once: leave for a call, if nothing stands in its way. */
  tryAdmit(link: ModelLink): CallPass | undefined {
    const breaker = this.#breakerOf(link.model);
    if (breaker?.refusal()) return undefined;
    const leave = link.gate?.tryEnter();
    if (link.gate && !leave) return undefined;
    const pass = this.#pass(link.model, { breaker, permit: breaker?.enter(), leave });
    return "why" in pass ? undefined : pass;
  }

  /** Whether a failed call of this model may be tried again, as far as its host is concerned. */
  allowsRetry({ host }: LanguageModel): boolean {
    return host === undefined || this.#retryBudget(host).allowsRetry;
  }

  /** The budget of second calls to this model's host; one inside this process needs none. */
  hedgeBudget({ host = "" }: LanguageModel): HedgeBudget {
    return remembered(this.#hedgeBudgets, host, () => new HedgeBudget());
  }

  #pass(
    model: LanguageModel,
    {
      breaker,
      permit,
      leave,
    }: { breaker: CircuitBreaker | undefined; permit: CallPermit | undefined; leave: LeaveGate | undefined },
  ): CallPass | NoPass {
    if (breaker && !permit) {
      leave?.();
      return breaker.refusal() ?? { why: "open", waitMs: 0 };
    }
    return {
      firstToken: () => permit?.firstToken(),
      end: (how) => {
        leave?.();
        if (permit) this.#learn(model, permit, how);
      },
    };
  }

  #learn({ host = "" }: LanguageModel, permit: CallPermit, how: HowItWent): void {
    const budget = this.#retryBudget(host);
    if (how.attempt.outcome === "answered") budget.succeeded();
    else if (spendsRetryBudget(how)) budget.failed();
    const verdict = circuitFailureOf(how);
    if (verdict === "alive") permit.succeeded();
    else if (verdict === "unknown") permit.released();
    else permit.failed(verdict);
  }

  #breakerOf({ id, host }: LanguageModel): CircuitBreaker | undefined {
    if (host === undefined) return undefined;
    const { now, random, onChange } = this.#options;
    return remembered(
      this.#breakers,
      `${host}\n${id}`,
      () =>
        new CircuitBreaker({ now, random, onChange: (change) => onChange?.({ model: id, host, ...change }) }),
    );
  }

  #retryBudget(host: string): RetryBudget {
    return remembered(this.#retryBudgets, host, () => new RetryBudget());
  }
}

function remembered<Value>(map: LruMap<Value>, key: string, make: () => Value): Value {
  const known = map.get(key);
  if (known) return known;
  const made = make();
  map.set(key, made);
  return made;
}
