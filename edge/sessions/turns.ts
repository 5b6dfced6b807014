/**
 * The turns that a session is answering: takes messages, each once; follows their replies, several at a time and those
 * of one context in the order in which they came; takes them up again after an eviction.
 */
import { ParleyError } from "../../core/errors/parley-error.ts";
import type { InBackground } from "../../core/limits/limiter.ts";
import { traceparentOf } from "../../core/messages/trace-context.ts";
import { deadlineExceeded } from "../../core/resilience/deadline.ts";
import { startTimeLimit } from "../../core/resilience/time-limit.ts";
import type { A2AMessage } from "../../proto/gen/parley/v1/agent_service_pb.js";
import type { Composition } from "../composition.ts";
import { type AdmittedTurn, admitTurn, completeMessage } from "./admit-turn.ts";
import type { CatchUp } from "./catch-up.ts";
import type { ClientFrame } from "./client-frame.ts";
import { tooMany } from "./error-frame.ts";
import type { FrameBody } from "./frame.ts";
import type { FrameLog } from "./frame-log.ts";
import { RunningTurn, type RunningTurnOptions } from "./running-turn.ts";
import { type SessionTimings, TURNS_IN_FLIGHT_MAX } from "./session-limits.ts";
import type { SessionOwner } from "./session-owner.ts";
import type { TurnRecord, TurnStore, TurnSummary } from "./turn-store.ts";

/** What the turns of a session touch. */
export interface TurnsOptions {
  readonly log: FrameLog;
  readonly store: TurnStore;
  readonly catchUp: CatchUp;
  readonly composition: Composition;
  readonly timings: SessionTimings;
  readonly inBackground: InBackground;
  /** Sends a message that is for a peer, or a peer's reply; false when it is for an agent of the backend. */
  sendToPeer(message: A2AMessage, admitted: AdmittedTurn, owner: SessionOwner): Promise<boolean>;
  /** A turn has another frame. */
  onFrame(turn: RunningTurn, body: FrameBody, isLast: boolean): void;
}

/** What became of a message; `before` is there when it had been taken before, and nothing when nobody may send it. */
export type TakenMessage = { taken: true } | { taken: false; before?: TurnSummary };

/** See above. */
export class Turns {
  readonly #options: TurnsOptions;
  readonly #running = new Map<string, RunningTurn>();
  /** Of each context, the turn that was taken last. */
  readonly #lastOfContext = new Map<string, RunningTurn>();
  /** Messages are let in one after the other, so that their order is that of their frames. */
  #admissions: Promise<unknown> = Promise.resolve();
  #admitting = 0;

  constructor(options: TurnsOptions) {
    this.#options = options;
  }

  get count(): number {
    return this.#running.size;
  }

  /** The turns being answered, as clients are told of them. */
  underWay(): TurnSummary[] {
    return [...this.#running.values()].map(({ id, taskId, contextId }) => ({
      ...{ messageId: id, taskId, contextId, ended: false },
    }));
  }

  /** Takes up what an eviction cut, the owner of unsaved frames first. */
  restore(owner: SessionOwner): void {
    const records = this.#options.store.underWay();
    for (const record of records) this.#start({ record, owner, charge: undefined });
  }

  /**
   * Takes a message, or says that it has been taken before.
   *
   * @param findOwner the owner as of then; undefined when its credential is not good any more
   * @throws ParleyError when it cannot be taken
   */
  take(
    message: A2AMessage,
    frame: ClientFrame,
    findOwner: () => Promise<SessionOwner | undefined>,
  ): Promise<TakenMessage> {
    if (
      this.#running.size + this.#admitting >= TURNS_IN_FLIGHT_MAX &&
      !this.#running.has(message.messageId)
    ) {
      throw tooMany(
        "too-many-turns",
        `${TURNS_IN_FLIGHT_MAX} messages are being answered in this session; wait until one has been`,
      );
    }
    this.#admitting += 1;
    const admission = this.#admissions
      .then(async () => {
        const owner = await findOwner();
        return owner ? this.#admit(message, frame, owner) : ({ taken: false } as const);
      })
      .finally(() => {
        this.#admitting -= 1;
      });
    this.#admissions = admission.catch(() => {});
    return admission;
  }

  /**
   * Stops the turn that a cancel names; its last event comes as a frame.
   *
   * @throws ParleyError `not_found` when there is none, or what the backend says
   */
  async cancel({ taskId, inReplyTo }: A2AMessage): Promise<void> {
    const find = () =>
      [...this.#running.values()].find(({ id, taskId: ofTurn }) =>
        taskId === "" ? id === inReplyTo : ofTurn === taskId,
      );
    let turn = find();
    // Its message may have come just before it, and be on its way in still.
    if (!turn && this.#admitting > 0) {
      await this.#admissions;
      turn = find();
    }
    if (!turn) {
      throw new ParleyError(
        "not_found",
        "the cancel names no turn that is being answered here: set `taskId`, or `inReplyTo` to its message's id",
      );
    }
    await turn.cancel();
  }

  /** Stops following all of them; the tasks go on. */
  stop(): void {
    for (const turn of this.#running.values()) {
      turn.stop(new ParleyError("canceled", "the session has ended"));
    }
    this.#running.clear();
  }

  async #admit(message: A2AMessage, frame: ClientFrame, owner: SessionOwner): Promise<TakenMessage> {
    const { composition, store, log, inBackground } = this.#options;
    const before = message.messageId === "" ? undefined : store.find(message.messageId);
    if (before) {
      const { fingerprint } = await completeMessage(message, owner);
      if (before.fingerprint === "" || fingerprint === before.fingerprint) return { taken: false, before };
      throw new ParleyError(
        "conflict",
        "another message of this session had this `messageId`; choose a new one",
        {
          reason: "message-id-used",
        },
      );
    }
    const timeoutMs = Math.min(frame.timeoutMs ?? Infinity, composition.config.requestTimeoutMs);
    const limit = startTimeLimit(timeoutMs, deadlineExceeded);
    const admitted = await admitTurn(message, {
      ...{ owner, composition, inBackground },
      signal: limit.signal,
    }).finally(() => limit.clear());
    if (admitted.route.target !== "backend" && (await this.#options.sendToPeer(message, admitted, owner))) {
      // No model has been asked.
      admitted.charge.fail(new ParleyError("unavailable", "answered by a peer"));
      return { taken: true };
    }
    const startedAtMs = composition.now();
    const record: TurnRecord = {
      messageId: message.messageId,
      contextId: message.contextId,
      taskId: "",
      taskSequence: 0,
      startedAtMs,
      message: admitted.text,
      requestId: frame.requestId,
      traceparent: traceparentOf(frame.trace),
      deadlineAtMs: startedAtMs + timeoutMs,
    };
    store.add(record, admitted.fingerprint);
    // So that its first frames, when it is alone, need no write before they are sent.
    if (this.#running.size === 0) log.own(record.messageId);
    this.#start({ record, owner, charge: admitted.charge });
    return { taken: true };
  }

  #start(turn: Pick<RunningTurnOptions, "record" | "owner" | "charge">): void {
    const { composition, timings, log, catchUp, inBackground } = this.#options;
    const running: RunningTurn = new RunningTurn({
      ...turn,
      composition,
      timings,
      onFrame: (body, isLast) => {
        if (isLast) this.#forget(running);
        this.#options.onFrame(running, body, isLast);
      },
    });
    const { id, contextId } = running;
    const previous = contextId === "" ? undefined : this.#lastOfContext.get(contextId);
    this.#running.set(id, running);
    if (contextId !== "") this.#lastOfContext.set(contextId, running);
    // The owner of unsaved frames has begun already, whoever was before it; the others wait for it.
    const ready = id === log.owner ? Promise.resolve() : Promise.all([catchUp.done, previous?.begun]);
    inBackground(ready.then(() => running.run()));
  }

  #forget(turn: RunningTurn): void {
    this.#running.delete(turn.id);
    for (const [contextId, last] of this.#lastOfContext) {
      if (last === turn) this.#lastOfContext.delete(contextId);
    }
  }
}
