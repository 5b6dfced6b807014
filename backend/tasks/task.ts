/**
 * One task: the work of answering one message. Makes its events; how the answer comes about is not its business. It
 * runs in this process, or in another backend, whose events are then shown here as they come.
 */
import { create, type JsonObject } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { type ErrorCode, type ParleyError, toParleyError } from "../../core/errors/parley-error.ts";
import { textContent, textOf } from "../../core/messages/envelope.ts";
import { errorMessageBody } from "../../core/messages/error-body.ts";
import { type Part, TaskState } from "../../proto/gen/lf/a2a/v1/a2a_pb.js";
import {
  type A2AMessage,
  A2AMessageSchema,
  ContentSchema,
} from "../../proto/gen/parley/v1/agent_service_pb.js";
import type { ModelAttempt } from "../llm/answer-event.ts";
import { takenOver } from "./engine-errors.ts";
import { eventEnvelope, isLastEvent } from "./event-envelope.ts";
import type { EventGate } from "./event-gate.ts";
import { EventLog, type LostEvents } from "./event-log.ts";
import { type FailedTask, failureCost } from "./failure-cost.ts";
import { shownAttempts } from "./shown-attempts.ts";
import { acceptedEvent, canceledError, failureOf, voidEvent } from "./task-events.ts";
import type { TaskRecord } from "./task-ledger.ts";

/** What a task is made of. */
export interface TaskInit {
  readonly record: TaskRecord;
  /** The server made the context's id for this message, so nothing can have been said in it. Default false. */
  readonly isNewContext?: boolean;
  readonly now: () => number;
  /** Events before a crash that nobody has kept. */
  readonly lost?: LostEvents | undefined;
}

/** Failures that say nothing about the message: sent again, it is run again. */
const RUN_AGAIN_AFTER: readonly ErrorCode[] = ["deadline_exceeded", "unavailable", "resource_exhausted"];

/** A task and its events. Ends with exactly one of `content`, `error` or `status` (canceled). */
export class Task {
  readonly record: TaskRecord;
  readonly isNewContext: boolean;
  /** The calls of models made so far, in order. */
  readonly attempts: ModelAttempt[] = [];
  readonly events: EventLog;
  /** Resolves when the acceptance would survive this process; rejects when it cannot be made to. */
  acceptance: Promise<void> = Promise.resolve();
  /** Set while the task runs in this process and something must hear of its events before followers do. */
  gate: EventGate | undefined;
  readonly #stop = new AbortController();
  readonly #now: () => number;
  /** All pieces of the reply, and the reply itself, are one message. */
  readonly #envelope: ReturnType<typeof eventEnvelope>;
  #failure: ParleyError | undefined;
  #discardAfterSequence = 1;
  /** The text of the attempt under way. */
  #text = "";
  #ending = false;
  #isLost = false;
  #cancelElsewhere: (() => void) | undefined;
  #reservedAhead = 0;

  constructor({ record, isNewContext = false, now, lost }: TaskInit) {
    this.record = record;
    this.isNewContext = isNewContext;
    this.events = new EventLog(lost);
    this.#now = now;
    this.#envelope = eventEnvelope(record.id, record.message);
  }

  get id(): string {
    return this.record.id;
  }

  get tenantId(): string {
    return this.record.tenantId;
  }

  /** Subject of the caller that sent the message, in whoever's name; it may follow and cancel the task. */
  get owner(): string {
    return this.record.owner;
  }

  /** The message to answer, complete: message, sender, receiver and context ids set. */
  get message(): A2AMessage {
    return this.record.message;
  }

  get requestId(): string {
    return this.record.requestId;
  }

  /** The caller's API key. */
  get keyId(): string {
    return this.record.keyId;
  }

  /** Of the agent's configuration, as it was when the message was accepted. */
  get agentVersion(): number {
    return this.record.agentVersion;
  }

  /** Aborts, with a ParleyError as its reason, when the task has to stop before it has answered. */
  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  /** Why it failed, once it has. */
  get failure(): ParleyError | undefined {
    return this.#failure;
  }

  /** Whether another backend has taken it over: what is done here for it any more counts for nothing. */
  get isLost(): boolean {
    return this.#isLost;
  }

  /** Whether its message, sent again, is to be run again. */
  get mayRunAgain(): boolean {
    return this.#failure !== undefined && RUN_AGAIN_AFTER.includes(this.#failure.code);
  }

  /** First event: the message was taken. As of the message's own time, so that it can be made again. */
  accept(): void {
    this.events.append(acceptedEvent(this.record), false);
  }

  /** Takes up what an earlier backend has shown: `events` from the first on, and anything up to `reservedSequence`. */
  takeOver(events: readonly A2AMessage[], reservedSequence: number): void {
    for (const event of events) this.events.append(event, false);
    while (this.events.sequence < reservedSequence) this.events.append(voidEvent(this.record), false);
    this.#discardAfterSequence = 1;
  }

  /** Shows what the backend that runs the task says; what is here already is left alone. */
  mirror(events: readonly A2AMessage[]): void {
    for (const event of events) {
      if (this.events.ended || event.sequence !== this.events.sequence + 1) continue;
      const isLast = isLastEvent(event);
      if (isLast) this.#failure = failureOf(event);
      this.events.append(event, isLast);
    }
  }

  /** Highest sequence that a follower may have seen, here or elsewhere. */
  get seenSequence(): number {
    return this.events.sequence + (this.events.ended ? 0 : this.#reservedAhead);
  }

  /**
   * From now on the task is another backend's; `cancel` reaches it. Its followers there may have seen `reservedAhead`
   * events more than are known here.
   */
  runsElsewhere(cancel: () => void, reservedAhead: number): void {
    this.#isLost = true;
    this.#cancelElsewhere = cancel;
    this.#reservedAhead = reservedAhead;
    this.#stop.abort(takenOver());
  }

  /** The next piece of the reply's text; wait for what it returns, if anything, before the next one. */
  delta(text: string): Promise<void> | undefined {
    this.#text += text;
    return this.#show({ case: "delta", value: text });
  }

  /** The pieces since the reply began are void. */
  restart(reason: string): Promise<void> | undefined {
    this.#text = "";
    const discardAfterSequence = this.#discardAfterSequence;
    const shown = this.#show({ case: "restart", value: { discardAfterSequence, reason } });
    this.#discardAfterSequence = this.events.sequence + (shown ? 1 : 0);
    return shown;
  }

  /** The reply as its last event will carry it; recorded before it is shown. */
  reply(parts: Part[], metadata: JsonObject): A2AMessage {
    const content = create(ContentSchema, { parts: parts.length > 0 ? parts : textContent("").parts });
    const reply = this.#event({ case: "content", value: content });
    reply.metadata = metadata;
    reply.text = textOf(content);
    return reply;
  }

  /** Last event of a task that was answered. */
  complete(reply: A2AMessage): Promise<void> {
    return this.#end(reply);
  }

  /** Last event of a task that could not be answered. */
  fail(error: ParleyError): Promise<void> {
    return this.#end(this.#event(errorMessageBody(error, this.requestId)), error);
  }

  /** For a run that broke where it should not: whoever follows gets an end all the same. */
  async endUnexpectedly(error: unknown): Promise<void> {
    if (!this.events.ended) await this.fail(toParleyError(error));
  }

  /** The task has ended so before, elsewhere, and nobody was told. */
  endAs(last: A2AMessage): Promise<void> {
    return this.#end({ ...last }, failureOf(last));
  }

  /** Leaves the task to whoever takes it up next: nothing more happens here, and followers get the error. */
  abandon(error: ParleyError): void {
    if (this.events.ended) return;
    this.#isLost = true;
    this.#stop.abort(error);
    this.events.break(error);
  }

  /** Asks a running task to stop, and why; its last event follows once the model's stream is closed. */
  stop(reason: ParleyError): void {
    this.#stop.abort(reason);
  }

  /** Asks a running task, wherever it runs, to stop because somebody wants it to. */
  cancel(): void {
    if (this.#cancelElsewhere) this.#cancelElsewhere();
    else this.stop(canceledError());
  }

  /** Last event of a task that was canceled. */
  endCanceled(): Promise<void> {
    const timestamp = timestampFromMs(this.#now());
    return this.#end(
      this.#event({ case: "status", value: { state: TaskState.CANCELED, timestamp } }),
      canceledError(),
    );
  }

  #show(body: EventBody): Promise<void> | undefined {
    if (this.#isLost) return undefined;
    const event = this.#event(body);
    const append = () => {
      if (this.#isLost) return;
      this.events.append(event, false);
      this.gate?.appended();
    };
    const admitted = this.gate?.admit(this.events.sequence + 1);
    if (admitted) return admitted.then(append);
    append();
    return undefined;
  }

  /** The first end counts; a task that is another backend's has none here. */
  async #end(event: A2AMessage, failure?: ParleyError): Promise<void> {
    if (this.#ending || this.#isLost) return;
    this.#ending = true;
    event.sequence = this.events.sequence + 1;
    if (failure) {
      const attempts = this.record.showsAttempts ? { attempts: shownAttempts(this.attempts) } : {};
      event.metadata = { usage: failureCost(this.#failed()), ...attempts };
    }
    const mayRunAgain = failure !== undefined && RUN_AGAIN_AFTER.includes(failure.code);
    if (this.gate && !(await this.gate.end(event, mayRunAgain))) return;
    this.#failure = failure;
    this.events.append(event, true);
  }

  /** An attempt that failed by itself is among the attempts; one that was stopped is not. */
  #failed(): FailedTask {
    const { message, attempts, signal } = this;
    return { message, attempts, cutText: signal.aborted ? this.#text : "" };
  }

  #event(body: EventBody): A2AMessage {
    return create(A2AMessageSchema, {
      ...this.#envelope,
      createdAt: timestampFromMs(this.#now()),
      body: body as A2AMessage["body"],
    });
  }
}

/** Bodies that a task sends, as initialisers. */
type EventBody = NonNullable<Parameters<typeof create<typeof A2AMessageSchema>>[1]>["body"];
