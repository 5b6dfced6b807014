/** One task: the work of answering one message. Makes its events; how the answer comes about is not its business. */
import { create, type JsonObject } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { ParleyError, toParleyError } from "../../core/errors/parley-error.ts";
import { textContent, textOf } from "../../core/messages/envelope.ts";
import { errorMessageBody } from "../../core/messages/error-body.ts";
import { type Part, TaskState } from "../../proto/gen/lf/a2a/v1/a2a_pb.js";
import {
  type A2AMessage,
  A2AMessageSchema,
  ContentSchema,
} from "../../proto/gen/parley/v1/agent_service_pb.js";
import type { ModelAttempt } from "../llm/answer-event.ts";
import { EventLog } from "./event-log.ts";

/** What a task is made of. */
export interface TaskInit {
  id: string;
  tenantId: string;
  /** Subject of the caller that sent the message, in whoever's name; it may follow and cancel the task. */
  owner: string;
  /** The message to answer, complete: message, sender, receiver and context ids set. */
  message: A2AMessage;
  requestId: string;
  /** The caller's API key. */
  keyId: string;
  /** Of the agent's configuration, as it was when the message was accepted. */
  agentVersion: number;
  /** The server made the context's id for this message, so nothing can have been said in it. Default false. */
  isNewContext?: boolean;
  now: () => number;
}

/** A task and its events. Ends with exactly one of `content`, `error` or `status` (canceled). */
export class Task {
  readonly id: string;
  readonly tenantId: string;
  readonly owner: string;
  readonly message: A2AMessage;
  readonly requestId: string;
  readonly keyId: string;
  readonly agentVersion: number;
  readonly isNewContext: boolean;
  /** The calls of models made so far, in order. */
  readonly attempts: ModelAttempt[] = [];
  readonly events = new EventLog();
  readonly #stop = new AbortController();
  readonly #now: () => number;
  /** All pieces of the reply, and the reply itself, are one message. */
  readonly #replyId = crypto.randomUUID();
  #failure: ParleyError | undefined;
  #discardAfterSequence = 0;

  constructor({
    id,
    tenantId,
    owner,
    message,
    requestId,
    keyId,
    agentVersion,
    isNewContext = false,
    now,
  }: TaskInit) {
    this.id = id;
    this.tenantId = tenantId;
    this.owner = owner;
    this.message = message;
    this.requestId = requestId;
    this.keyId = keyId;
    this.agentVersion = agentVersion;
    this.isNewContext = isNewContext;
    this.#now = now;
  }

  /** Aborts, with a ParleyError as its reason, when the task has to stop before it has answered. */
  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  /** Why it failed, once it has. */
  get failure(): ParleyError | undefined {
    return this.#failure;
  }

  /** First event: the message was taken. */
  accept(): void {
    this.events.append(this.#event({ case: "accepted", value: {} }), false);
    this.#discardAfterSequence = this.events.sequence;
  }

  /** The next piece of the reply's text. */
  delta(text: string): void {
    this.events.append(this.#event({ case: "delta", value: text }), false);
  }

  /** The pieces since the reply began are void. */
  restart(reason: string): void {
    const discardAfterSequence = this.#discardAfterSequence;
    this.events.append(this.#event({ case: "restart", value: { discardAfterSequence, reason } }), false);
    this.#discardAfterSequence = this.events.sequence;
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
  complete(reply: A2AMessage): void {
    this.events.append(reply, true);
  }

  /** Last event of a task that could not be answered. */
  fail(error: ParleyError): void {
    this.#failure = error;
    this.events.append(this.#event(errorMessageBody(error, this.requestId)), true);
  }

  /** For a run that broke where it should not: whoever follows gets an end all the same. */
  endUnexpectedly(error: unknown): void {
    if (!this.events.ended) this.fail(toParleyError(error));
  }

  /** Asks a running task to stop, and why; its last event follows once the model's stream is closed. */
  stop(reason: ParleyError): void {
    this.#stop.abort(reason);
  }

  /** Asks a running task to stop because somebody wants it to. */
  cancel(): void {
    this.stop(new ParleyError("canceled", "the task was canceled"));
  }

  /** Last event of a task that was canceled. */
  endCanceled(): void {
    this.#failure = new ParleyError("canceled", "the task was canceled");
    const timestamp = timestampFromMs(this.#now());
    this.events.append(
      this.#event({ case: "status", value: { state: TaskState.CANCELED, timestamp } }),
      true,
    );
  }

  #event(body: EventBody): A2AMessage {
    return create(A2AMessageSchema, {
      messageId: this.#replyId,
      senderId: this.message.receiverId,
      receiverId: this.message.senderId,
      contextId: this.message.contextId,
      taskId: this.id,
      inReplyTo: this.message.messageId,
      createdAt: timestampFromMs(this.#now()),
      body: body as A2AMessage["body"],
    });
  }
}

/** Bodies that a task sends, as initialisers. */
type EventBody = NonNullable<Parameters<typeof create<typeof A2AMessageSchema>>[1]>["body"];
