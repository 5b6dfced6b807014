/**
 * Whether messages can be answered: asks every dependency at the same time, each for a limited time, and keeps the
 * result for a moment, so that asking for readiness cannot be used to keep the dependencies busy.
 */
import { type ErrorCode, toParleyError } from "../../core/errors/parley-error.ts";
import type { Clock } from "../../core/resilience/deadline.ts";

/** How long a dependency may take to answer. */
export const CHECK_TIMEOUT_MS = 2_000;
/** How long a result is given out again. */
export const RESULT_FRESH_MS = 1_000;

/** Something that must answer. Of each kind one that does is enough. */
export interface Dependency {
  /** Public: without credentials. */
  readonly name: string;
  readonly kind: "database" | "backend";
  /** Resolves when it answers; throws when it does not, or when the signal aborts. */
  check(signal: AbortSignal): Promise<unknown>;
}

/** One dependency's state, as callers see it. */
export interface DependencyState {
  name: string;
  status: "ok" | "failing";
  latencyMs: number;
  /** The code of the failure. */
  code?: ErrorCode;
}

/** The result of a check. */
export interface ReadinessReport {
  ready: boolean;
  dependencies: DependencyState[];
}

/**
 * Checks readiness. State is plain data: a check under way belongs to its own request and is never awaited by
 * another, which gets the last result instead; before there is one, each request checks for itself.
 */
export class Readiness {
  readonly #dependencies: readonly Dependency[];
  readonly #now: Clock;
  #report: ReadinessReport | undefined;
  #freshUntilMs = 0;

  constructor(dependencies: readonly Dependency[], now: Clock) {
    this.#dependencies = dependencies;
    this.#now = now;
  }

  async check(): Promise<ReadinessReport> {
    if (this.#report && this.#now() < this.#freshUntilMs) return this.#report;
    // Until this check is done, and no longer than it can take, the last result stands for others.
    this.#freshUntilMs = this.#now() + CHECK_TIMEOUT_MS;
    const dependencies = await Promise.all(this.#dependencies.map((dependency) => this.#ask(dependency)));
    const kinds = new Set(this.#dependencies.map(({ kind }) => kind));
    const ready = [...kinds].every((kind) =>
      this.#dependencies.some((asked, i) => asked.kind === kind && dependencies[i]?.status === "ok"),
    );
    this.#report = { ready, dependencies };
    this.#freshUntilMs = this.#now() + RESULT_FRESH_MS;
    return this.#report;
  }

  async #ask({ name, check }: Dependency): Promise<DependencyState> {
    const startedAtMs = this.#now();
    const signal = AbortSignal.timeout(CHECK_TIMEOUT_MS);
    try {
      await check(signal);
      return { name, status: "ok", latencyMs: this.#now() - startedAtMs };
    } catch (error) {
      const code = signal.aborted ? "deadline_exceeded" : toParleyError(error).code;
      return { name, status: "failing", latencyMs: this.#now() - startedAtMs, code };
    }
  }
}
