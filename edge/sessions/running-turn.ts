/** A turn while it is being answered: follows the reply, and makes frames of its events. */
import { fromJsonString } from "@bufbuild/protobuf";
import { type ParleyError, toParleyError } from "../../core/errors/parley-error.ts";
import type { ReplyCharge } from "../../core/limits/reply-charge.ts";
import { envelopeToJson } from "../../core/messages/envelope.ts";
import { deltaTextsOf } from "../../core/messages/joined-deltas.ts";
import { acceptOrStartTrace } from "../../core/messages/trace-context.ts";
import { Deadline, deadlineExceeded } from "../../core/resilience/deadline.ts";
import { startTimeLimit } from "../../core/resilience/time-limit.ts";
import { type A2AMessage, A2AMessageSchema } from "../../proto/gen/parley/v1/agent_service_pb.js";
import type { BackendCall } from "../backend/agent-backend.ts";
import { endsTask } from "../backend/ends-task.ts";
import type { Composition } from "../composition.ts";
import { routeToAgent } from "../routing/route-message.ts";
import { withPresetReply } from "../routing/with-preset-reply.ts";
import { DeltaCoalescer } from "./delta-coalescer.ts";
import { errorBodyOf } from "./error-frame.ts";
import { followTurn } from "./follow-turn.ts";
import type { FrameBody } from "./frame.ts";
import type { SessionTimings } from "./session-limits.ts";
import type { SessionOwner } from "./session-owner.ts";
import type { TurnRecord } from "./turn-store.ts";

/** What a running turn touches. */
export interface RunningTurnOptions {
  readonly record: TurnRecord;
  readonly owner: SessionOwner;
  /** Undefined after an eviction: what was reserved stays charged then. */
  readonly charge: ReplyCharge | undefined;
  readonly composition: Pick<Composition, "backend" | "directory" | "random" | "now">;
  readonly timings: SessionTimings;
  /** Takes the turn's frames, in order; the last one ends it. */
  onFrame(body: FrameBody, isLast: boolean): void;
}

/** See above. */
export class RunningTurn {
  readonly message: A2AMessage;
  /** Resolves with the first event, or when there will be none. */
  readonly begun: Promise<void>;
  /** The last event's code, when it was an error. */
  failure: string | undefined;
  readonly #options: RunningTurnOptions;
  readonly #abort = new AbortController();
  readonly #coalescer: DeltaCoalescer;
  readonly #begin: () => void;
  #taskId: string;
  #contextId: string;
  #hasEnded = false;

  constructor(options: RunningTurnOptions) {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.begun = promise;
    this.#begin = resolve;
    this.#options = options;
    this.message = fromJsonString(A2AMessageSchema, options.record.message);
    this.#taskId = options.record.taskId;
    this.#contextId = options.record.contextId;
    this.#coalescer = new DeltaCoalescer({
      coalesceMs: options.timings.coalesceMs,
      now: options.composition.now,
      emit: (events) => this.#emit(events),
    });
  }

  get id(): string {
    return this.#options.record.messageId;
  }

  get record(): TurnRecord {
    return this.#options.record;
  }

  /** Empty until the backend has named it. */
  get taskId(): string {
    return this.#taskId;
  }

  get contextId(): string {
    return this.#contextId;
  }

  /** Follows the reply to its end; never rejects. */
  async run(): Promise<void> {
    const { composition, record } = this.#options;
    const call = this.#call(Deadline.after(record.deadlineAtMs - composition.now(), composition.now));
    const timer = setTimeout(
      () => this.#abort.abort(deadlineExceeded()),
      Math.max(0, record.deadlineAtMs - composition.now()),
    );
    try {
      await followTurn({
        backend: composition.backend,
        call,
        message: this.message,
        position: { taskId: record.taskId, afterSequence: record.taskSequence },
        random: composition.random,
        now: composition.now,
        onEvent: (event) => this.#take(event),
      });
    } catch (cause) {
      await this.#fail(toParleyError(cause));
    } finally {
      clearTimeout(timer);
      this.#begin();
    }
  }

  /**
   * Asks the backend to stop the task, as soon as it has one.
   *
   * @throws ParleyError when that fails
   */
  async cancel(): Promise<void> {
    await this.begun;
    if (this.#hasEnded) return;
    const { composition, record } = this.#options;
    const deadline = Deadline.after(record.deadlineAtMs - composition.now(), composition.now);
    await composition.backend.cancelReply(this.#taskId, this.#call(deadline));
  }

  /** Stops following; there are no frames after. The task on the backend goes on. */
  stop(reason: ParleyError): void {
    this.#hasEnded = true;
    this.#coalescer.stop();
    this.#abort.abort(reason);
  }

  #take(event: A2AMessage): void {
    if (this.#hasEnded) return;
    if (event.taskId !== "") this.#taskId = event.taskId;
    if (event.contextId !== "") this.#contextId = event.contextId;
    this.#options.charge?.note(event);
    this.#coalescer.push(event);
    this.#begin();
  }

  #emit(events: readonly A2AMessage[]): void {
    const last = events.at(-1);
    if (!last) return;
    // How a turn's frames are found again must not depend on what the backend sends.
    const envelope = { ...envelopeToJson(last), inReplyTo: this.id };
    const deltas = events.flatMap((event) => deltaTextsOf(event) ?? []);
    if (last.body.case === "delta" || last.body.case === "deltas")
      Reflect.deleteProperty(envelope, last.body.case);
    const isLast = endsTask(last);
    if (last.body.case === "error") this.failure = last.body.value.code;
    if (isLast) this.#hasEnded = true;
    this.#options.onFrame({ envelope, ...(deltas.length > 0 && { deltas }) }, isLast);
  }

  /** The turn's last event is the gateway's own then. */
  async #fail(error: ParleyError): Promise<void> {
    if (this.#hasEnded) return;
    const failure = await this.#withPresetReply(error);
    if (this.#hasEnded) return;
    this.#options.charge?.fail(failure);
    this.#coalescer.flush();
    const { message } = this;
    const event = {
      ...message,
      messageId: "",
      senderId: message.receiverId,
      receiverId: message.senderId,
      contextId: this.#contextId,
      taskId: this.#taskId,
      inReplyTo: message.messageId,
      sequence: 0,
      text: "",
      body: errorBodyOf(failure, this.#options.record.requestId),
    };
    delete event.metadata;
    this.#emit([event]);
  }

  async #withPresetReply(error: ParleyError): Promise<ParleyError> {
    if (error.code !== "unavailable") return error;
    const { owner, composition } = this.#options;
    const limit = startTimeLimit(1_000);
    try {
      const { tenantId } = owner.principal;
      const { receiverId } = this.message;
      const { agent } = await routeToAgent(composition.directory, tenantId, receiverId, limit.signal);
      return withPresetReply(error, agent);
    } catch {
      return error;
    } finally {
      limit.clear();
    }
  }

  #call(deadline: Deadline): BackendCall {
    const { owner, record, charge, timings } = this.#options;
    return {
      principal: owner.principal,
      requestId: record.requestId,
      trace: acceptOrStartTrace(record.traceparent),
      deadline,
      signal: this.#abort.signal,
      onAttempt: () => {},
      deltaIntervalMs: timings.coalesceMs,
      onKnownTask: () => charge?.wasKnown(),
    };
  }
}
