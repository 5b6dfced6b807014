/**
 * Keeps one program running: starts it, waits until it serves, starts it again when it ends unexpectedly, and gives
 * up when that happens too often. States: not started → starting → serving ⇄ restarting → stopped | given up.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { GuardedProcess, ProcessExit } from "./guarded-process.ts";
import { RestartBudget } from "./restart-budget.ts";

/** A program to keep running. */
export interface SupervisedProgram {
  readonly name: string;
  launch(): Promise<GuardedProcess>;
  /** Resolves when a launched process serves. Rejects when it will not; gives up when the signal aborts. */
  waitUntilServing(process: GuardedProcess, signal: AbortSignal): Promise<void>;
  /** What it printed last, for the report of its end. */
  lastLines(): string;
}

/** What the supervisor tells. */
export interface SupervisorEvents {
  /** A line for the user. */
  report(text: string): void;
  /** The program has a new process. */
  onLaunch(process: GuardedProcess): void;
}

/** The program could not be started, or not kept running. */
export class ProgramFailedError extends Error {
  override readonly name = "ProgramFailedError";
}

/** Supervises one program. */
export class Supervisor {
  readonly #program: SupervisedProgram;
  readonly #events: SupervisorEvents;
  readonly #budget = new RestartBudget();
  readonly #stopping = new AbortController();
  readonly #givenUp = Promise.withResolvers<ProgramFailedError>();
  #process: GuardedProcess | undefined;

  constructor(program: SupervisedProgram, events: SupervisorEvents) {
    this.#program = program;
    this.#events = events;
  }

  /** Resolves, never rejects, when the program ended too often to be started again. */
  get givenUp(): Promise<ProgramFailedError> {
    return this.#givenUp.promise;
  }

  /** Starts the program for the first time. Throws ProgramFailedError when it does not come to serve. */
  async start(): Promise<void> {
    const process = await this.#launch();
    await this.#waitUntilServing(process);
    this.#keepRunning(process).catch((cause: unknown) => this.#giveUp("cannot be started again", cause));
  }

  /** Ends the program for good: SIGTERM, and SIGKILL after `graceMs`. */
  async stop(graceMs: number): Promise<void> {
    this.#stopping.abort();
    await this.#process?.terminate(graceMs);
  }

  /** Ends the program for good, at once. */
  kill(): void {
    this.#stopping.abort();
    this.#process?.kill();
  }

  async #launch(): Promise<GuardedProcess> {
    const process = await this.#program.launch();
    this.#process = process;
    this.#events.onLaunch(process);
    // A stop that came while the process was being made did not find it.
    if (this.#stopping.signal.aborted) process.kill();
    return process;
  }

  async #waitUntilServing(process: GuardedProcess): Promise<void> {
    const waiting = new AbortController();
    const ended = process.exited.then((exit) => {
      throw new ProgramFailedError(`${this.#program.name} ${describeExit(exit)}${this.#quoteLastLines()}`);
    });
    try {
      await Promise.race([this.#program.waitUntilServing(process, waiting.signal), ended]);
    } finally {
      waiting.abort();
    }
  }

  async #keepRunning(first: GuardedProcess): Promise<void> {
    const { name } = this.#program;
    let process = first;
    for (;;) {
      const exit = await process.exited;
      if (this.#stopping.signal.aborted) return;
      this.#events.report(`${name} ${describeExit(exit)} unexpectedly${this.#quoteLastLines()}`);
      const delayMs = this.#budget.take(performance.now());
      if (delayMs === undefined) return this.#giveUp("ended too often; not starting it again");
      await sleep(delayMs);
      if (this.#stopping.signal.aborted) return;
      process = await this.#relaunch();
    }
  }

  /** A process that does not come to serve is killed: it counts as one more unexpected end. */
  async #relaunch(): Promise<GuardedProcess> {
    const process = await this.#launch();
    try {
      await this.#waitUntilServing(process);
      this.#events.report(`${this.#program.name} runs again (pid ${process.pid})`);
    } catch {
      process.kill();
    }
    return process;
  }

  #giveUp(reason: string, cause?: unknown): void {
    this.#givenUp.resolve(new ProgramFailedError(`${this.#program.name} ${reason}`, { cause }));
  }

  #quoteLastLines(): string {
    const lines = this.#program.lastLines();
    return lines === "" ? "" : `; its last lines:\n${lines.replaceAll(/^/gm, "  | ")}`;
  }
}

function describeExit({ code, signal }: ProcessExit): string {
  return signal === null ? `ended with code ${code}` : `was ended by ${signal}`;
}
