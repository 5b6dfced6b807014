/**
 * This backend's part in the ledger that all backends share: keeps the leases of the tasks that run here, takes over
 * the tasks of backends that have died, and shows tasks that run elsewhere. Whether the ledger answers or not, nothing
 * here fails a task.
 */
import { ParleyError } from "../../core/errors/parley-error.ts";
import { messageConflict } from "./engine-errors.ts";
import { LedgerGate } from "./ledger-gate.ts";
import type { Task } from "./task.ts";
import type { ClaimedTask, LedgerNotice, TaskLedger } from "./task-ledger.ts";
import { TaskMirrors } from "./task-mirrors.ts";

/** Leases are renewed, and others' looked at, this often in a lease time: a renewal may fail twice. */
const TICKS_PER_LEASE = 4;
/** Tasks that one tick takes over: the rest is for other backends, or the next tick. */
const TASKS_CLAIMED_MAX = 32;
/** Ended tasks that the ledger has not heard of yet; beyond it the oldest stay unknown to it. */
const UNSETTLED_MAX = 1_000;

/** What the engine does for the tasks of backends that have died. */
export interface TakeoverHost {
  /** How many more tasks it can run. */
  room(): number;
  /** Runs the task. Never rejects. */
  takeOver(claimed: ClaimedTask, attach: (task: Task) => LedgerGate): Promise<void>;
}

/** What it works with. */
export interface SharedTasksOptions {
  readonly ledger: TaskLedger;
  /** Unix epoch, milliseconds. */
  readonly now: () => number;
  /** Monotonic, milliseconds. */
  readonly monotonicNow: () => number;
  /** Told of trouble that nobody else reports. */
  readonly onFailure: (error: unknown) => void;
}

/** What became of a message that this backend would answer: its own task, another one, or an error for its sender. */
export type Verdict =
  | { readonly kind: "own"; readonly gate: LedgerGate }
  | { readonly kind: "known"; readonly task: Task }
  | { readonly kind: "refused"; readonly error: unknown };

/** See above. */
export class SharedTasks {
  readonly #options: SharedTasksOptions;
  readonly #gates = new Map<string, LedgerGate>();
  /** Shows the tasks of other backends. */
  readonly mirrors: TaskMirrors;
  #host: TakeoverHost | undefined;
  #timer: NodeJS.Timeout | undefined;
  #ticking: Promise<void> | undefined;
  #readySinceMs = Number.POSITIVE_INFINITY;

  constructor(options: SharedTasksOptions) {
    this.#options = options;
    this.mirrors = new TaskMirrors(options.ledger, options.now);
    const { ledger, monotonicNow } = options;
    if (ledger.isReady) this.#readySinceMs = monotonicNow();
    ledger.listen({
      onReady: () => {
        this.#readySinceMs = monotonicNow();
        this.#tick();
      },
      onFailing: () => {
        this.#readySinceMs = Number.POSITIVE_INFINITY;
        for (const gate of this.#gates.values()) gate.leave();
      },
      onNotice: (notice) => this.#take(notice),
    });
  }

  /** Begins to renew and to take over. */
  start(host: TakeoverHost): void {
    this.#host = host;
    this.#timer = setInterval(() => this.#tick(), this.#options.ledger.leaseMs / TICKS_PER_LEASE);
    this.#timer.unref();
  }

  /** Takes over nothing any more; leases of tasks that still run are renewed. */
  stopTakingOver(): void {
    this.#host = undefined;
  }

  /** After the last task has ended. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#ticking;
    this.#options.ledger.close();
  }

  /** Enters a task that this backend has accepted; its gate is the task's from now on. */
  async accept(task: Task): Promise<Verdict> {
    const { ledger } = this.#options;
    const gate = this.#newGate(task);
    if (!ledger.isReady) {
      gate.leave();
      return { kind: "own", gate };
    }
    // Not longer than the ledger's own time limit; in trouble, it is answered here all the same.
    const verdict = await this.#enter(gate).catch((error): Verdict => {
      if (!isUnavailable(error)) this.#options.onFailure(error);
      gate.leave();
      return { kind: "own", gate };
    });
    if (verdict.kind !== "own") this.#gates.delete(task.id);
    return verdict;
  }

  /** The task has ended here, or is another backend's. */
  ended(task: Task): void {
    const gate = this.#gates.get(task.id);
    if (gate?.isDone) this.#gates.delete(task.id);
    if (this.#gates.size <= UNSETTLED_MAX) return;
    for (const [taskId, { task: other }] of this.#gates) {
      if (!other.events.ended) continue;
      this.#gates.delete(taskId);
      return;
    }
  }

  #newGate(task: Task): LedgerGate {
    const gate: LedgerGate = new LedgerGate({
      ledger: this.#options.ledger,
      task,
      now: this.#options.monotonicNow,
      onLost: () => {
        this.#gates.delete(task.id);
        this.mirrors.follow(task);
      },
      onGone: () => this.#enterAgain(gate),
    });
    this.#gates.set(task.id, gate);
    task.gate = gate;
    return gate;
  }

  async #enter(gate: LedgerGate): Promise<Verdict> {
    const batch = gate.firstBatch();
    const outcome = await this.#options.ledger.accept(gate.task.record, batch);
    if (outcome.kind === "conflict")
      return { kind: "refused", error: messageConflict(gate.task.message.messageId) };
    if (outcome.kind === "known") {
      return this.mirrors.show(outcome.task).then(
        (task): Verdict => ({ kind: "known", task }),
        (error): Verdict => ({ kind: "refused", error }),
      );
    }
    gate.attach(outcome.lease, batch, outcome.isFirst);
    return { kind: "own", gate };
  }

  /** After an outage: the ledger is told of a task that it may have forgotten, or never heard of. */
  #enterAgain(gate: LedgerGate): void {
    const { ledger } = this.#options;
    const batch = gate.firstBatch();
    ledger
      .accept(gate.task.record, batch)
      .then((outcome) => {
        if (outcome.kind === "accepted") gate.attach(outcome.lease, batch, outcome.isFirst);
        else if (outcome.kind === "known" && outcome.task.record.id === gate.task.id)
          gate.note({ kind: "lost" });
        else gate.orphan();
        if (gate.isDone) this.#gates.delete(gate.task.id);
      })
      .catch((error) => {
        if (!isUnavailable(error)) this.#options.onFailure(error);
      });
  }

  #take({ kind, taskId }: LedgerNotice): void {
    const gate = this.#gates.get(taskId);
    if (kind === "turn") gate?.noteTurn();
    else if (kind === "follow") gate?.noteFollowed();
    else gate?.task.cancel();
  }

  #tick(): void {
    if (!this.#options.ledger.isReady) return;
    this.#ticking ??= this.#keepUp()
      .catch((error) => {
        if (!isUnavailable(error)) this.#options.onFailure(error);
      })
      .finally(() => {
        this.#ticking = undefined;
      });
  }

  async #keepUp(): Promise<void> {
    await this.#renew();
    const { ledger, monotonicNow } = this.#options;
    const host = this.#host;
    const tasksMax = Math.min(host?.room() ?? 0, TASKS_CLAIMED_MAX);
    // After an outage every backend gets a lease time to renew what it holds.
    if (!host || tasksMax <= 0 || monotonicNow() - this.#readySinceMs < ledger.leaseMs) return;
    for (const claimed of await ledger.claim(tasksMax)) this.#claimed(claimed, host);
  }

  async #renew(): Promise<void> {
    const gates = [...this.#gates.values()];
    const leased = gates.flatMap((gate) => (gate.lease ? [{ gate, lease: gate.lease }] : []));
    const states = await this.#options.ledger.renew(leased.map(({ lease }) => lease));
    leased.forEach(({ gate }, index) => {
      const state = states[index];
      if (state) gate.note(state);
      if (gate.isDone) this.#gates.delete(gate.task.id);
    });
    for (const gate of gates) if (gate.isAway && !gate.lease) this.#enterAgain(gate);
  }

  #claimed(claimed: ClaimedTask, host: TakeoverHost): void {
    const own = this.#gates.get(claimed.record.id);
    if (own) {
      own.reclaim(claimed.lease, claimed.state);
      return;
    }
    host
      .takeOver(claimed, (task) => {
        const gate = this.#newGate(task);
        gate.attach(claimed.lease, claimed, claimed.state.isFirst);
        gate.note(claimed.state);
        return gate;
      })
      .catch(this.#options.onFailure);
  }
}

function isUnavailable(error: unknown): boolean {
  return error instanceof ParleyError && error.code === "unavailable";
}
