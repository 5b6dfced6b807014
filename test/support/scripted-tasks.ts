/**
 * Tasks as a backend has them, for tests of who follows them: a message becomes a task whose events are kept and can be
 * followed from any of them, by anybody, as often as need be. What a task answers is in its message's text: `words N
 * every M` streams N deltas, one every M ms; anything else is echoed in two deltas; `hold` waits for the test.
 */
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { deltaIntervalOf, followEvents } from "../../backend/rpc/follow-events.ts";
import { EventLog } from "../../backend/tasks/event-log.ts";
import { textContent, textOf } from "../../core/messages/envelope.ts";
import { TaskState, TaskStatusSchema } from "../../proto/gen/lf/a2a/v1/a2a_pb.js";
import {
  type A2AMessage,
  A2AMessageSchema,
  AcceptedSchema,
  RestartSchema,
} from "../../proto/gen/parley/v1/agent_service_pb.js";
import type { RecordedCall, Script } from "../edge/support/scripted-backend.ts";

/** One task. */
export class ScriptedTask {
  readonly id = `task-${crypto.randomUUID()}`;
  readonly message: A2AMessage;
  readonly #log = new EventLog();
  text = "";

  constructor(message: A2AMessage) {
    this.message = message;
    this.append({ case: "accepted", value: create(AcceptedSchema) });
  }

  delta(text: string): void {
    this.text += text;
    this.append({ case: "delta", value: text });
  }

  /** The text so far is void. */
  restart(): void {
    this.text = "";
    this.append({
      case: "restart",
      value: create(RestartSchema, { discardAfterSequence: 1, reason: "test" }),
    });
  }

  finish(): void {
    this.append({ case: "content", value: textContent(this.text) }, true);
  }

  cancel(): void {
    if (this.ended) return;
    this.append({ case: "status", value: create(TaskStatusSchema, { state: TaskState.CANCELED }) }, true);
  }

  append(body: A2AMessage["body"], ends = false): void {
    if (this.ended) return;
    const { message } = this;
    this.#log.append(
      create(A2AMessageSchema, {
        messageId: `reply-${this.id}`,
        senderId: message.receiverId,
        receiverId: message.senderId,
        contextId: message.contextId || `context-of-${message.messageId}`,
        taskId: this.id,
        inReplyTo: message.messageId,
        body,
      }),
      ends,
    );
  }

  get events(): readonly A2AMessage[] {
    return this.#log.after(0);
  }

  get ended(): boolean {
    return this.#log.ended;
  }

  /** As the real backend does, deltas put together where that is asked for. */
  follow(afterSequence: number, { headers, signal }: RecordedCall): AsyncIterable<A2AMessage> {
    const deltaIntervalMs = deltaIntervalOf(headers);
    const now = () => performance.now();
    return followEvents({ events: this.#log, afterSequence, deltaIntervalMs, now, signal });
  }

  async play(): Promise<void> {
    const text = this.message.body.case === "content" ? textOf(this.message.body.value) : "";
    if (text === "hold") return;
    const [, words, everyMs] = /^words (\d+) every (\d+)$/.exec(text) ?? [];
    if (!words) {
      this.delta(text.slice(0, 2));
      this.delta(text.slice(2));
      return this.finish();
    }
    for (let word = 0; word < Number(words) && !this.ended; word++) {
      this.delta(`${word} `);
      await new Promise((resolve) => setTimeout(resolve, Number(everyMs)));
    }
    this.finish();
  }
}

/** All tasks of a scripted backend. */
export class ScriptedTasks {
  readonly byMessage = new Map<string, ScriptedTask>();

  constructor(script: Script) {
    script.streamReply = (message, call) => this.#taskFor(message).follow(0, call);
    script.startReply = (message) => this.#taskFor(message).events[0] as A2AMessage;
    script.resumeReply = ({ taskId, afterSequence }, call) => this.#task(taskId).follow(afterSequence, call);
    script.cancelReply = (taskId) => {
      const task = this.#task(taskId);
      task.cancel();
      return task.events.at(-1) as A2AMessage;
    };
  }

  /** The task of a message; throws when it has none. */
  of(messageId: string): ScriptedTask {
    const task = this.byMessage.get(messageId);
    if (!task) throw new Error(`no task for ${messageId}`);
    return task;
  }

  /** Forgets every task, as a backend does that was replaced. */
  lose(): void {
    this.byMessage.clear();
  }

  #taskFor(message: A2AMessage): ScriptedTask {
    const before = this.byMessage.get(message.messageId);
    if (before) return before;
    const task = new ScriptedTask(message);
    this.byMessage.set(message.messageId, task);
    void task.play();
    return task;
  }

  #task(taskId: string): ScriptedTask {
    const task = [...this.byMessage.values()].find(({ id }) => id === taskId);
    if (task) return task;
    throw new ConnectError("there is no such task", Code.NotFound);
  }
}
