/** The port to the durable log, in the words of a task. */
import type { ParleyError } from "../../core/errors/parley-error.ts";
import type { LogState } from "../../core/log/message-log.ts";
import type { A2AMessage } from "../../proto/gen/parley/v1/agent_service_pb.js";
import type { AnswerRecord } from "../agents/agent-runner.ts";
import type { Task } from "./task.ts";

/** Records turns. A failure to record is the caller's to report; it never fails the turn. */
export interface TurnRecorder {
  /** Whether it is worth waiting for a turn to become durable. */
  state(): LogState;
  /** The message that a task answers. Resolves when durable. */
  question(task: Task): Promise<void>;
  /** The reply, and the attempts it took. Resolves when durable. */
  answer(task: Task, reply: A2AMessage, record: AnswerRecord, durationMs: number): Promise<void>;
  /** That there is no reply, and why, and the attempts made. Resolves when durable. */
  failure(task: Task, error: ParleyError, durationMs: number): Promise<void>;
}
